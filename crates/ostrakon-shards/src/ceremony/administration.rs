use minicbor::{Decode, Encode};
use ostrakon_types::{CertificateId, Digest, ProfileId};

use super::subject::{Description, quoted};
use crate::{name::Name, words::first_words};

/// What an operator has a running server do, and his administrators' devices must approve.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Administration {
    /// Answers requests again.
    #[n(0)]
    Enable,
    /// Puts a policy in force.
    #[n(1)]
    LoadPolicy {
        /// The number that it gets: the one after that of the policy in force.
        #[n(0)]
        number: u64,
        /// The SHA-256 of its text.
        #[n(1)]
        source: Digest,
        /// The zone in which its times are meant.
        #[n(2)]
        time_zone: Name,
        /// The SHA-256 of the text in force.
        #[n(3)]
        replaces: Digest,
    },
    /// Sets counters back to zero.
    #[n(2)]
    ClearQuota {
        /// Those of these profiles; none means every profile's.
        #[n(0)]
        profiles: Vec<ProfileId>,
    },
}

impl Administration {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Enable => "enable",
            Self::LoadPolicy { .. } => "load_policy",
            Self::ClearQuota { .. } => "clear_quota",
        }
    }

    pub(super) fn describe(&self, asked_by: Option<&CertificateId>) -> Description {
        let mut details = Vec::new();
        let title = match self {
            Self::Enable => "let a key shard server answer requests again",
            Self::LoadPolicy {
                number,
                source,
                time_zone,
                replaces,
            } => {
                details.push(("policy", format!("version {number}")));
                details.push(("SHA-256", source.to_string()));
                details.push(("replaces", replaces.to_string()));
                details.push(("time zone", quoted(time_zone)));
                "put a policy in force at a key shard server"
            }
            Self::ClearQuota { profiles } => {
                if profiles.is_empty() {
                    details.push(("quotas of", "EVERY profile".to_owned()));
                }
                for profile in profiles {
                    let words = first_words(profile);
                    let words = words.first(4);
                    details.push(("quotas of", format!("profile {profile} ({words})")));
                }
                "set quotas back at a key shard server"
            }
        };
        let asked_by = match asked_by {
            Some(id) => format!("the administrator with certificate {id}"),
            None => "the operator of its machine".to_owned(),
        };
        details.push(("asked by", asked_by));
        Description { title, details }
    }
}
