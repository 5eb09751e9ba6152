/// How many shards of how many it takes: M of N. Exists only where it makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Threshold {
    needed: u8,
    shares: u8,
}

/// Numbers that are no threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ThresholdError {
    /// None at all is needed, or there is none.
    #[error("threshold is zero")]
    Zero,
    /// Each of several shards would be the key.
    #[error("threshold 1 of {0}: every share would be the key")]
    One(u8),
    /// More are needed than there are.
    #[error("threshold {needed} of only {shares} shares")]
    TooHigh {
        /// How many are needed.
        needed: u8,
        /// How many there are.
        shares: u8,
    },
}

impl Threshold {
    /// `needed` of `shares`, at least 2 unless there is one share alone.
    ///
    /// # Errors
    /// When that is not so.
    pub const fn new(needed: u8, shares: u8) -> Result<Self, ThresholdError> {
        match (needed, shares) {
            (0, _) => Err(ThresholdError::Zero),
            (1, 2..) => Err(ThresholdError::One(shares)),
            _ if needed > shares => Err(ThresholdError::TooHigh { needed, shares }),
            _ => Ok(Self { needed, shares }),
        }
    }

    /// M: how many it takes.
    #[must_use]
    pub const fn needed(self) -> u8 {
        self.needed
    }

    /// N: how many there are.
    #[must_use]
    pub const fn shares(self) -> u8 {
        self.shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sensible_thresholds_exist() {
        assert!(Threshold::new(1, 1).is_ok());
        assert!(Threshold::new(255, 255).is_ok());
        assert_eq!(Threshold::new(0, 3), Err(ThresholdError::Zero));
        assert_eq!(Threshold::new(1, 2), Err(ThresholdError::One(2)));
        let (needed, shares) = (4, 3);
        let too_high = ThresholdError::TooHigh { needed, shares };
        assert_eq!(Threshold::new(4, 3), Err(too_high));
        assert!(Threshold::new(1, 0).is_err());
    }
}
