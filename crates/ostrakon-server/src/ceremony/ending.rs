//! Ceremonies that end because of what was done since they were opened.

use ostrakon_custody::{Ledger, Relay};
use ostrakon_shards::ceremony::{Administration, Ceremony, Subject};
use ostrakon_storage::Store;
use ostrakon_types::{CertificateId, DeviceId, UnixMillis};

use super::listing::asked_in;
use crate::server::BuildError;

/// What an operator asked administrators for, and with which certificate.
pub(crate) type Asked<'a> = (&'a Administration, Option<CertificateId>);

/// What a ceremony asks administrators for, if it does.
pub(super) fn asked(ceremony: &Ceremony) -> Option<Asked<'_>> {
    match &ceremony.subject {
        Subject::Administer { act, asked_by, .. } => Some((act, *asked_by)),
        _ => None,
    }
}

/// Whether it would enable the server: what a `disable` ends.
pub(crate) fn enables((act, _): Asked<'_>) -> bool {
    matches!(act, Administration::Enable)
}

/// How many wait that were asked for with this certificate, whichever instance opened them.
pub(super) async fn count_of(
    store: &Store,
    certificate: CertificateId,
    now: UnixMillis,
) -> Result<usize, BuildError> {
    let pending = store.pending_ceremonies(now).await?;
    let ceremonies = pending.iter().filter_map(asked_in);
    let with_it = ceremonies
        .filter(|ceremony| asked(ceremony).is_some_and(|(_, by)| by == Some(certificate)));
    Ok(with_it.count())
}

/// Has the relay forget those of the server's own ceremonies for which that is so, whichever instance opened them;
/// on record as ended by `by`.
pub(crate) async fn end_all(
    store: &Store,
    ledger: &Ledger,
    by: DeviceId,
    now: UnixMillis,
    is_over: impl Fn(Asked<'_>) -> bool,
) -> Result<(), BuildError> {
    for pending in store.pending_ceremonies(now).await? {
        let ceremony = asked_in(&pending);
        if ceremony.as_ref().and_then(asked).is_some_and(&is_over) {
            let ceremony = pending.ceremony.id;
            ledger.relay(Relay::Cancel { ceremony, by }, now).await?;
        }
    }
    Ok(())
}
