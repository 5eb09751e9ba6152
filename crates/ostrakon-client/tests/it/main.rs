//! The client as its users see it: files on a disk, and a server behind a socket.

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod keyserver;
#[cfg(test)]
mod local;
#[cfg(test)]
mod stand_in;
