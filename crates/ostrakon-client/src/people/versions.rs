//! Newer versions of the profile that others hand to this device, beside its key shard server.

use ostrakon_shards::{
    ceremony::Question,
    profile::{Profile, SignedVersion},
};

use super::AnswerApprovalError;
use crate::workstation::{OpenError, Workstation};

impl Workstation {
    /// Takes over the versions that continue the profile. Each is signed by the devices of the one before it,
    /// whoever hands it on; what does not continue it, or is without this device, is passed over.
    pub(super) fn follow_profile(&mut self, versions: &[SignedVersion]) -> Result<(), OpenError> {
        if versions.is_empty() {
            return Ok(());
        }
        let lock = self.lock()?;
        let Some(member) = self.member() else {
            return Ok(());
        };
        let (known, device) = (Profile::clone(&member.profile), member.device.id());
        let number = known.head().number;
        let new = versions
            .iter()
            .filter(|signed| signed.version().number > number);
        let new: Vec<_> = new.cloned().collect();
        let followed = new
            .iter()
            .try_fold(known, |profile, next| profile.advance(next.clone()));
        match followed {
            Ok(profile) if !new.is_empty() && profile.member(&device).is_some() => {
                self.change(&lock, |state| {
                    if let Some(membership) = &mut state.membership {
                        membership.versions.extend(new);
                        membership.head = profile.head();
                    }
                })
            }
            _ => Ok(()),
        }
    }

    /// Keeps the newer versions of the profile that came along, so that nobody can show this device an
    /// older one again.
    pub(super) fn take_over(&mut self, question: &Question) -> Result<(), AnswerApprovalError> {
        let lock = self.lock()?;
        let known = self.state().membership.as_ref();
        let known = known.ok_or(AnswerApprovalError::NoProfile)?;
        let head = known.head.follow(question.profile())?;
        if head == known.head {
            return Ok(());
        }
        let from = known.head.number;
        let new: Vec<_> = question
            .versions()
            .iter()
            .filter(|signed| signed.version().number > from)
            .cloned()
            .collect();
        self.change(&lock, |state| {
            if let Some(membership) = &mut state.membership {
                membership.versions.extend(new);
                membership.head = head;
            }
        })?;
        Ok(())
    }
}
