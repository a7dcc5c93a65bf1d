//! From what was seen to the verdict: the way in which every scenario with clients at work ends.

use anyhow::Result;

use super::cx::Cx;
use super::fleet::Fleet;
use super::load::Heard;
use super::report::Report;
use super::verdict::{END_MAX, Evidence, TOLD_MAX, gather, judge};

/// What a scenario has to do with runs that go from a worker that is lost to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TakeOvers {
    /// It exists to cause them: without one, nothing was shown.
    Wanted,
    /// Nobody is lost, so no run may be taken away.
    Forbidden,
    /// They may happen.
    Any,
}

/// Waits for the end of everything that was acknowledged, ends the fleet, verifies its store, and judges.
pub(crate) async fn settle(
    cx: &Cx,
    fleet: &mut Fleet,
    heard: Heard,
    take_overs: TakeOvers,
    report: &mut Report,
) -> Result<Evidence> {
    let keys = heard.acknowledged.keys().cloned().collect();
    let evidence = gather(fleet, keys, cx.patience(END_MAX)).await?;
    weigh(&heard, &evidence, take_overs, report);
    Ok(evidence)
}

/// What was seen, as a verdict. Promises about runs and effects are held only where there were some.
fn weigh(heard: &Heard, evidence: &Evidence, take_overs: TakeOvers, report: &mut Report) {
    report.tried("acknowledged", heard.acknowledged.len() as u64);
    report.figure("refused for now", heard.retryable);
    report.figure("unanswered", heard.unanswered);
    report.break_all("not retryable", heard.wrong.iter().take(TOLD_MAX));
    let two_runs = heard.two_runs.iter().take(TOLD_MAX);
    report.break_all("another run for the same key", two_runs);
    let verdict = judge(evidence);
    verdict.tell(evidence, report);
    report.needs(0 < verdict.done, "no run was done");
    report.needs(0 < verdict.effects, "no command had an effect");
    let n = verdict.take_overs;
    match take_overs {
        TakeOvers::Wanted => report.needs(0 < n, "no run was taken over: it hit nobody"),
        TakeOvers::Forbidden => report.must(
            n == 0,
            format!("{n} runs were taken from workers that lived"),
        ),
        TakeOvers::Any => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::{Outcome, Standing};
    use super::super::verdict::tests::{evidence, evidence_with_take_over};
    use super::*;

    fn heard() -> Heard {
        Heard {
            acknowledged: [("a".to_owned(), 1)].into(),
            ..Heard::default()
        }
    }

    fn standing(heard: &Heard, evidence: &Evidence, take_overs: TakeOvers) -> Standing {
        let mut report = Report::default();
        weigh(heard, evidence, take_overs, &mut report);
        Outcome::Ran(report).standing()
    }

    #[test]
    fn a_run_that_went_well_is_held() {
        let seen = evidence();
        assert_eq!(standing(&heard(), &seen, TakeOvers::Any), Standing::Held);
    }

    #[test]
    fn nothing_acknowledged_shows_nothing() {
        let seen = Evidence::default();
        let nobody = Heard::default();
        assert_eq!(standing(&nobody, &seen, TakeOvers::Any), Standing::NotTried);
    }

    #[test]
    fn runs_without_an_effect_show_nothing() {
        let mut seen = evidence();
        for told in seen.runs.values_mut().flatten() {
            told.calls.clear();
        }
        seen.effects.clear();
        assert_eq!(
            standing(&heard(), &seen, TakeOvers::Any),
            Standing::NotTried
        );
    }

    #[test]
    fn a_scenario_about_take_overs_needs_one() {
        let (quiet, taken) = (evidence(), evidence_with_take_over());
        let wanted = TakeOvers::Wanted;
        assert_eq!(standing(&heard(), &quiet, wanted), Standing::NotTried);
        assert_eq!(standing(&heard(), &taken, wanted), Standing::Held);
    }

    #[test]
    fn a_run_that_is_taken_from_a_worker_that_lives_is_red() {
        let taken = evidence_with_take_over();
        let forbidden = TakeOvers::Forbidden;
        assert_eq!(standing(&heard(), &taken, forbidden), Standing::Broken);
    }

    #[test]
    fn a_second_run_for_one_key_is_red() {
        let mut twice = heard();
        twice.two_runs.push("a: started again".to_owned());
        let seen = evidence();
        assert_eq!(standing(&twice, &seen, TakeOvers::Any), Standing::Broken);
    }
}
