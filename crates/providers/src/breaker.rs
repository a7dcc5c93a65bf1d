//! Rests a provider that keeps failing, and tries it again with one request (R30).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adjutant_domain::run::ModelFault;
use adjutant_ports::Clock;

/// A rest grows with every failed trial, up to this many times the first.
const REST_GROWTH_MAX: u32 = 16;

/// How one provider is doing.
pub(crate) struct Breaker {
    clock: Arc<dyn Clock>,
    faults_max: u32,
    rest: Duration,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    last_fault: Option<String>,
}

enum Phase {
    /// Open for business, after so many faults in a row.
    Working { faults: u32 },
    /// Not asked until then, on the monotonic clock.
    Resting { until: Duration, rest: Duration },
    /// One request is out to see whether it works again.
    Trial { rest: Duration },
}

/// The right to ask once. Dropping it unreported (the caller went away) counts neither way.
pub(crate) struct Ticket {
    breaker: Arc<Breaker>,
    trial: bool,
    reported: bool,
}

impl Breaker {
    pub(crate) fn new(clock: Arc<dyn Clock>, faults_max: u32, rest: Duration) -> Self {
        let state = State {
            phase: Phase::Working { faults: 0 },
            last_fault: None,
        };
        Self {
            clock,
            faults_max,
            rest,
            state: Mutex::new(state),
        }
    }

    /// Asks whether a request may go out.
    ///
    /// # Errors
    /// [`ModelFault::Unavailable`] while the provider rests.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Ticket, ModelFault> {
        let mut state = self.state();
        let trial = match state.phase {
            Phase::Working { .. } => false,
            Phase::Resting { until, rest } => {
                let left = until.saturating_sub(self.clock.monotonic());
                if !left.is_zero() {
                    return Err(resting(left));
                }
                state.phase = Phase::Trial { rest };
                true
            }
            Phase::Trial { rest } => return Err(resting(rest)),
        };
        Ok(Ticket {
            breaker: Arc::clone(self),
            trial,
            reported: false,
        })
    }

    /// The last fault, as a sentence; none while it works.
    pub(crate) fn last_fault(&self) -> Option<String> {
        self.state().last_fault.clone()
    }

    /// How long it will not be asked.
    pub(crate) fn resting(&self) -> Duration {
        match self.state().phase {
            Phase::Working { .. } => Duration::ZERO,
            Phase::Resting { until, .. } => until.saturating_sub(self.clock.monotonic()),
            Phase::Trial { rest } => rest,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// A complete reply came.
    pub(crate) fn good(&mut self) {
        self.reported = true;
        let mut state = self.breaker.state();
        state.last_fault = None;
        if self.trial || matches!(state.phase, Phase::Working { .. }) {
            state.phase = Phase::Working { faults: 0 };
        }
    }

    /// A fault came. Only silence and overload speak against the provider; a refused key or a limit is an answer.
    pub(crate) fn fault(&mut self, fault: &ModelFault) {
        self.reported = true;
        let down = matches!(fault, ModelFault::Unavailable { .. } | ModelFault::TimedOut);
        let breaker = &self.breaker;
        let now = breaker.clock.monotonic();
        let mut state = breaker.state();
        state.last_fault = Some(fault.sentence());
        state.phase = match state.phase {
            Phase::Trial { rest } if self.trial && down => {
                let rest = (rest * 2).min(breaker.rest * REST_GROWTH_MAX);
                Phase::Resting {
                    until: now + rest,
                    rest,
                }
            }
            Phase::Trial { .. } if self.trial => Phase::Working { faults: 0 },
            Phase::Working { faults } if down && breaker.faults_max <= faults + 1 => {
                Phase::Resting {
                    until: now + breaker.rest,
                    rest: breaker.rest,
                }
            }
            Phase::Working { faults } if down => Phase::Working { faults: faults + 1 },
            Phase::Working { faults } if matches!(fault, ModelFault::Cut) => {
                Phase::Working { faults }
            }
            Phase::Working { .. } => Phase::Working { faults: 0 },
            // A request that was let through before the rest began says nothing new.
            Phase::Resting { until, rest } => Phase::Resting { until, rest },
            Phase::Trial { rest } => Phase::Trial { rest },
        };
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.trial && !self.reported {
            let now = self.breaker.clock.monotonic();
            let mut state = self.breaker.state();
            if let Phase::Trial { rest } = state.phase {
                state.phase = Phase::Resting { until: now, rest };
            }
        }
    }
}

fn resting(left: Duration) -> ModelFault {
    ModelFault::Unavailable {
        text: format!(
            "it kept failing and rests for {} s",
            left.as_millis().div_ceil(1000)
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tests_support::HandClock;

    const DOWN: ModelFault = ModelFault::TimedOut;

    fn breaker() -> (Arc<HandClock>, Arc<Breaker>) {
        let clock = HandClock::new();
        let shared: Arc<dyn Clock> = clock.clone();
        (
            clock,
            Arc::new(Breaker::new(shared, 3, Duration::from_secs(10))),
        )
    }

    fn fail(breaker: &Arc<Breaker>, fault: &ModelFault) {
        breaker.admit().unwrap().fault(fault);
    }

    // covers: R30
    #[test]
    fn a_provider_that_keeps_failing_rests_and_is_tried_once() {
        let (clock, breaker) = breaker();
        for _ in 0..3 {
            fail(&breaker, &DOWN);
        }
        assert_eq!(breaker.resting(), Duration::from_secs(10));
        assert!(matches!(
            breaker.admit(),
            Err(ModelFault::Unavailable { .. })
        ));
        clock.advance(Duration::from_secs(10));
        let mut trial = breaker.admit().unwrap();
        assert!(breaker.admit().is_err(), "only one trial at a time");
        trial.fault(&DOWN);
        assert_eq!(breaker.resting(), Duration::from_secs(20));
        clock.advance(Duration::from_secs(20));
        breaker.admit().unwrap().good();
        assert_eq!(breaker.resting(), Duration::ZERO);
        assert_eq!(breaker.last_fault(), None);
    }

    #[test]
    fn an_abandoned_trial_lets_the_next_one_try() {
        let (clock, breaker) = breaker();
        for _ in 0..3 {
            fail(&breaker, &DOWN);
        }
        clock.advance(Duration::from_secs(11));
        drop(breaker.admit().unwrap());
        assert!(breaker.admit().is_ok());
    }

    #[test]
    fn answers_that_are_not_about_health_do_not_count() {
        let (_clock, breaker) = breaker();
        for _ in 0..5 {
            fail(&breaker, &DOWN);
            fail(&breaker, &DOWN);
            fail(&breaker, &ModelFault::RateLimited { retry_after: None });
        }
        assert_eq!(breaker.resting(), Duration::ZERO);
        assert!(breaker.last_fault().unwrap().contains("rate limited"));
    }
}
