use ostrakon_shards::{
    identity::VerifiedKeyserver,
    random::{self, RandomError},
    sealed_shard::{PublicContext, SealShardError, ShardContext, seal_for_server},
    share::{FileKey, FileKeyError, Manifest, Shard, Threshold, ThresholdError, split},
};
use ostrakon_transport::message::{Item, ReleaseKind};
use ostrakon_types::{MetaItem, ProfileId};

use super::LoadOptions;

/// Length in bytes of a file key, as the age format has it.
const KEY_LEN: usize = 16;

/// Files as far as a server has to do with them: it cannot tell that there are none behind them.
pub(super) struct Files(Vec<(Item, Manifest)>);

/// Why a file's key could not be made, split or sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// No key.
    #[error(transparent)]
    Key(#[from] FileKeyError),
    /// Not two of two.
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// Not sealed.
    #[error(transparent)]
    Seal(#[from] SealShardError),
    /// No share for the server.
    #[error("no share for the server")]
    NoShare,
}

impl Files {
    pub(super) fn prepare(
        count: usize,
        options: &LoadOptions,
        profile: ProfileId,
        keyserver: &VerifiedKeyserver,
    ) -> Result<Self, PrepareError> {
        let threshold = Threshold::new(2, 2)?;
        let one = |number: usize| {
            let key = FileKey::generate(KEY_LEN)?;
            let mut split = split(&key, threshold)?;
            let shard = split.shards.pop().ok_or(PrepareError::NoShare)?;
            let context = ShardContext {
                public: PublicContext {
                    set_id: shard.set_id(),
                    cryptographic_id: random::id()?,
                    profile,
                    device: keyserver.device_id(),
                    threshold: shard.threshold(),
                    index: shard.index(),
                    manifest: split.manifest.digest(),
                },
                meta: MetaItem {
                    meta: format!("{}{number:04}", options.path),
                    complete: true,
                },
            };
            let kem = &keyserver.device().kem;
            let sealed = seal_for_server(options.suite, &shard, &context, kem)?;
            let item = Item::Release {
                kind: ReleaseKind::Decrypt,
                context,
                sealed,
            };
            Ok((item, split.manifest))
        };
        (0..count).map(one).collect::<Result<_, _>>().map(Self)
    }

    /// The items that ask for `count` files from number `first` on, going round.
    pub(super) fn items(&self, first: usize, count: usize) -> Vec<Item> {
        let from = first.checked_rem(self.0.len()).unwrap_or_default();
        let files = self.0.iter().cycle().skip(from).take(count);
        files.map(|(item, _)| item.clone()).collect()
    }

    /// Whether the share is that of file `number`.
    pub(super) fn check(&self, number: usize, shard: &Shard) -> bool {
        let index = number.checked_rem(self.0.len());
        let file = index.and_then(|index| self.0.get(index));
        file.is_some_and(|(_, manifest)| manifest.check(shard).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ostrakon_shards::{
        identity::PublicCard, kem::KemSecret, sealed_shard::open_at_server, sign::SigningKey,
        suite::Suite,
    };

    use super::*;

    #[test]
    fn a_share_is_that_of_its_own_file_alone() {
        let root = SigningKey::generate().unwrap();
        let [shards, envelope] = [(); 2].map(|()| KemSecret::generate().unwrap());
        let name = "kss".parse().unwrap();
        let card = PublicCard::issue(&root, 1, name, shards.public(), envelope.public());
        let keyserver = card.verify(&card.claimed_id()).unwrap();
        for suite in Suite::ALL {
            let options = LoadOptions {
                connections: 1,
                duration: Duration::ZERO,
                warm_up: Duration::ZERO,
                batch: 1,
                suite,
                fresh: false,
                path: "Bench/".to_owned(),
            };
            let profile = ProfileId::from_bytes([7; 16]);
            let files = Files::prepare(3, &options, profile, &keyserver).unwrap();
            let open = |number: usize| {
                let [item] = &files.items(number, 1)[..] else {
                    panic!("one item");
                };
                let Item::Release {
                    context, sealed, ..
                } = item
                else {
                    panic!("a release");
                };
                assert_eq!(sealed.suite(), suite);
                assert_eq!(context.meta.meta, format!("Bench/{:04}", number % 3));
                open_at_server(&shards, context, sealed).ok().unwrap()
            };
            for number in 0..7 {
                let matching = (0..3).filter(|&other| files.check(other, &open(number)));
                assert_eq!(matching.collect::<Vec<_>>(), [number % 3]);
            }
        }
    }
}
