//! The client as its users see it: files on a disk, and a server behind a socket.

mod fixture;
mod local;
