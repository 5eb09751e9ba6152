use ostrakon_shards::{
    backup::{BackupFile, Recovered},
    card::DeviceKind,
    ceremony::{Plan, Requester, Subject, Tally},
    device::DeviceKeys,
    name::Name,
    profile::SignedVersion,
    seal::Sealed,
};
use ostrakon_types::UnixMillis;

use super::{ConveneError, Convened, Progress, held::approved_by, profile::newest, take};

/// The devices that hold a backup key are asked for their shares of it, by a machine that has none of the
/// server's keys.
pub(super) struct Shares {
    pub(super) file: BackupFile,
    tally: Tally,
    pub(super) convened: Convened,
}

impl Shares {
    /// Asks the devices of the profile that holds the backup key. `versions` are those of the profile as it
    /// is now, if it has changed since the file was made.
    pub(super) fn ask(
        file: BackupFile,
        versions: &[SignedVersion],
        machine: Name,
        subject: Subject,
        lifetime_ms: i64,
        now: UnixMillis,
    ) -> Result<Self, ConveneError> {
        let (profile, versions) = newest(file.versions(), versions)?;
        let keys = DeviceKeys::generate()?;
        let card = keys.card(DeviceKind::Workstation, machine);
        let plan = Plan {
            subject,
            threshold: file.threshold().needed(),
            requester: Requester::Machine(card),
            lifetime_ms,
        };
        let tally = Tally::open(&profile, plan, &keys.signing, now)?;
        let enclosed = file.to_bytes();
        Ok(Self {
            convened: Convened::of(&tally, &profile, &versions, Some(&enclosed))?,
            file,
            tally,
        })
    }

    /// Counts answers. A share that is not the one that was made for its device does not count, and is told
    /// of.
    pub(super) fn take(&mut self, answers: &[Sealed], now: UnixMillis) -> Progress {
        let mut progress = take(&mut self.tally, answers, now);
        for device in progress.answered.clone() {
            let why = match self.tally.share_of(&device) {
                Ok(Some(share)) => match self.file.check_share(device, &share) {
                    Ok(_) => continue,
                    Err(error) => error.to_string(),
                },
                // It denied.
                Ok(None) => continue,
                Err(error) => format!("the share of device {device}: {error}"),
            };
            self.tally.set_aside(&device);
            progress.refused.push(why);
        }
        progress.stand = self.tally.standing(now).into();
        progress
    }

    /// Puts the backup key together and opens the file. Gives it with what it holds, and who approved.
    pub(super) fn open(
        self,
        now: UnixMillis,
    ) -> Result<(BackupFile, Recovered, String), ConveneError> {
        let completed = self.tally.complete(now);
        let completed = completed.map_err(|stand| ConveneError::NotApproved(stand.into()))?;
        let given = completed.shares().unwrap_or_default();
        let shares = given
            .iter()
            .map(|given| self.file.check_share(given.device, &given.share))
            .collect::<Result<Vec<_>, _>>()?;
        let recovered = self.file.recover(&shares)?;
        Ok((self.file, recovered, approved_by(&completed)))
    }
}
