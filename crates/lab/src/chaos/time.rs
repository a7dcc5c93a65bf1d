//! How long a campaign may take, and each of its scenarios.

use std::time::{Duration, Instant};

/// A short campaign ends within this, however slow the machine is.
pub(crate) const SHORT_MAX: Duration = Duration::from_secs(600);
/// Kept back of that: what is cut off in the middle has servers to stop and folders to remove.
const END: Duration = Duration::from_secs(30);
/// A scenario that gets less is not begun.
const SHARE_MIN: Duration = Duration::from_secs(10);
/// Percent of its share in which a scenario torments; in the rest it looks at what came of it.
const TORMENT_PERCENT: u32 = 50;
/// Kept back of a share for ending the fleet and verifying its store.
const VERIFY: Duration = Duration::from_secs(12);

/// The time of a whole campaign.
#[derive(Debug)]
pub(crate) struct Time {
    /// When the last scenario must have ended; none: whenever it likes.
    end: Option<Instant>,
    /// What the scenarios that have not begun need, in seconds.
    needed: u64,
}

/// The time of one scenario.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    begun: Instant,
    /// Longest torment that was asked for.
    torment_max: Duration,
    /// After this it is cut off.
    whole: Option<Duration>,
}

impl Time {
    /// Begins now. `seconds` is what each scenario needs.
    pub(crate) fn begin(is_short: bool, seconds: impl Iterator<Item = u64>) -> Self {
        Self {
            end: is_short.then(|| Instant::now() + SHORT_MAX - END),
            needed: seconds.sum(),
        }
    }

    /// The share of the next scenario: what it does not use is for those behind it. None: nothing is left.
    pub(crate) fn share(&mut self, seconds: u64, torment_max: Duration) -> Option<Share> {
        let now = Instant::now();
        let left = self.end.map(|end| end.saturating_duration_since(now));
        let whole = left.map(|left| part(left, seconds, self.needed));
        self.needed = self.needed.saturating_sub(seconds);
        if whole.is_some_and(|it| it < SHARE_MIN) {
            return None;
        }
        Some(Share {
            begun: now,
            torment_max,
            whole,
        })
    }
}

fn part(left: Duration, seconds: u64, needed: u64) -> Duration {
    left.mul_f64(seconds as f64 / needed.max(seconds).max(1) as f64)
}

impl Share {
    /// How long it is; none: as long as it takes.
    pub(crate) fn whole(&self) -> Option<Duration> {
        self.whole
    }

    /// Since it began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whether there was torment enough.
    pub(crate) fn is_late(&self) -> bool {
        let elapsed = self.elapsed();
        let is_part_over = |whole| whole * TORMENT_PERCENT / 100 < elapsed;
        self.torment_max < elapsed || self.whole.is_some_and(is_part_over)
    }

    /// Whether there is time for a part that is begun, judged and ended within `span`.
    pub(crate) fn has(&self, span: Duration) -> bool {
        let elapsed = self.elapsed();
        let is_too_short = |whole| whole < elapsed + span + VERIFY;
        elapsed <= self.torment_max && !self.whole.is_some_and(is_too_short)
    }

    /// How long somebody may wait who would wait for `longest`, and has the fleet to end afterwards.
    pub(crate) fn patience(&self, longest: Duration) -> Duration {
        self.whole.map_or(longest, |whole| {
            longest.min(whole.saturating_sub(self.elapsed() + VERIFY))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LONG: Duration = Duration::from_secs(21_600);

    fn share(torment_max: Duration, whole: Option<u64>, elapsed: u64) -> Share {
        Share {
            begun: Instant::now()
                .checked_sub(Duration::from_secs(elapsed))
                .unwrap(),
            torment_max,
            whole: whole.map(Duration::from_secs),
        }
    }

    #[test]
    fn no_share_of_a_short_campaign_is_longer_than_what_is_left_of_it() {
        let needs = [60, 30, 10];
        let mut time = Time::begin(true, needs.into_iter());
        for seconds in needs {
            let share = time.share(seconds, LONG).unwrap();
            assert!(share.whole.unwrap() <= SHORT_MAX - END, "{share:?}");
        }
    }

    #[test]
    fn a_scenario_gets_what_it_needs_of_what_all_need() {
        let left = Duration::from_secs(100);
        assert_eq!(part(left, 30, 60), Duration::from_secs(50));
        assert_eq!(part(left, 30, 30), left);
        assert_eq!(part(left, 0, 0), Duration::ZERO);
    }

    #[test]
    fn a_campaign_that_is_over_gives_no_share() {
        let mut time = Time {
            end: Some(Instant::now()),
            needed: 60,
        };
        assert!(time.share(60, LONG).is_none());
    }

    #[test]
    fn a_whole_campaign_cuts_nobody_off() {
        let mut time = Time::begin(false, [60].into_iter());
        let share = time.share(60, LONG).unwrap();
        assert_eq!((share.torment_max, share.whole), (LONG, None));
        let longest = Duration::from_secs(150);
        assert_eq!(share.patience(longest), longest);
        assert!(share.has(longest) && !share.is_late());
    }

    #[test]
    fn torment_ends_when_it_was_asked_to_or_when_half_the_share_is_over() {
        let second = Duration::from_secs(1);
        assert!(share(second, None, 2).is_late());
        assert!(!share(LONG, Some(50), 24).is_late());
        assert!(share(LONG, Some(50), 26).is_late());
    }

    #[test]
    fn what_cannot_be_ended_in_time_is_not_begun() {
        let span = Duration::from_secs(10);
        assert!(share(LONG, Some(50), 20).has(span));
        assert!(!share(LONG, Some(50), 30).has(span));
        assert!(!share(Duration::from_secs(1), None, 2).has(span));
    }

    #[test]
    fn patience_ends_before_the_share_does() {
        let longest = Duration::from_secs(150);
        assert!(share(LONG, Some(50), 0).patience(longest) <= Duration::from_secs(38));
        assert_eq!(share(LONG, Some(50), 60).patience(longest), Duration::ZERO);
    }
}
