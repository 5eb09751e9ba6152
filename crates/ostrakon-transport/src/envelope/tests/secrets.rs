//! What holds secrets cannot be copied, compared, printed or serialised by accident.

use super::super::*;
use crate::message::{Answer, ItemAnswer, ResponseBody};

/// Compiles only where the type has none of the traits: with one of them there are two impls of the
/// helper trait, and the compiler cannot infer which is meant.
macro_rules! assert_lacks {
    ($type:ty: $($marker:ident = $bound:path),+) => {
        const _: fn() = || {
            trait Lacks<Marker> {
                fn holds() {}
            }
            impl<T: ?Sized> Lacks<()> for T {}
            $(
                struct $marker;
                impl<T: ?Sized + $bound> Lacks<$marker> for T {}
            )+
            let _ = <$type as Lacks<_>>::holds;
        };
    };
}

macro_rules! assert_secret {
    ($($type:ty),+) => { $(
        assert_lacks!($type:
            IsClone = Clone,
            IsDebug = std::fmt::Debug,
            IsDisplay = std::fmt::Display,
            IsEq = PartialEq,
            IsSerialize = serde::Serialize
        );
    )+ };
}

assert_secret!(EnvelopeKey, Opened, Authentic, ReplyKey, PendingResponse);
assert_secret!(ClientSession, ServerSession, Received);
assert_secret!(ResponseBody, Answer, ItemAnswer);
