//! The guided minute: a throwaway installation that is talked to, refused, killed and found whole again.
//!
//! Nothing here is staged: a real gateway of this very program runs in a folder of its own, and every sentence on the
//! screen is checked against files and logs before it is said.

mod house;
mod show;
mod talk;

use std::net::TcpListener;
use std::time::Duration;

use adjutant_cli::{Asking, DemoDone, DemoFolder, DemoOptions, Exit, Failure, Stage};
use adjutant_domain::event::EventKind;

use house::{House, SECRET, sample};
use talk::{Ended, Session, Until};

/// Longest time when nobody has to be waited for.
const MINUTE: Duration = Duration::from_secs(60);
/// The session that is talked in, and another one for what must last beyond a session.
const SESSION: &str = "agent:main:demo";
const LATER: &str = "agent:main:demo-later";
/// What a step of the long task writes, so that a second time would show.
const STEPS_FILE: &str = "steps.txt";
/// Longer than the interrupted step would take, were it to run on or again.
const STEP_MAX: Duration = Duration::from_millis(3_500);

/// Runs the demonstration.
///
/// # Errors
/// Names the promise that did not hold. Processes and, unless it is to be kept, the folder are gone in any case.
pub(crate) async fn demo(options: DemoOptions, stage: &mut dyn Stage) -> Result<DemoDone, Failure> {
    let walls = adjutant_sandbox::best(&adjutant_sandbox::Config::default())
        .report()
        .await;
    let mut house = House::build(options.folder)?;
    let mut tour = Tour {
        stage,
        proven: Vec::new(),
        walls: if walls.available {
            Walls::Stand
        } else {
            Walls::Missing(walls.missing.join("; "))
        },
    };
    let shown = tour.walk(&mut house);
    let result = match options.asking {
        Asking::Person => shown.await,
        Asking::Nobody => match tokio::time::timeout(MINUTE, shown).await {
            Ok(result) => result,
            Err(_too_late) => Err(Failure::timeout(
                "the demonstration took longer than a minute",
            )),
        },
    };
    house.close().await;
    result?;
    let folder = (options.folder == DemoFolder::Keep).then(|| house.root().to_owned());
    Ok(DemoDone {
        proven: tour.proven,
        folder,
    })
}

/// Whether commands can be run on this machine.
enum Walls {
    Stand,
    Missing(String),
}

/// The run that was interrupted.
struct Broken {
    run: String,
    /// Whether a call was under way.
    inside_a_call: bool,
}

/// The way through the chapters.
struct Tour<'a> {
    stage: &'a mut dyn Stage,
    proven: Vec<String>,
    walls: Walls,
}

/// What is promised, and a failure that names it when it does not hold.
fn promised(holds: bool, promise: &str, seen: &str) -> Result<(), Failure> {
    if holds {
        return Ok(());
    }
    let seen: String = seen.chars().take(2_000).collect();
    Err(Failure::new(
        Exit::Failed,
        "DEMO",
        format!("this did not hold: {promise}. Seen: {seen}"),
    ))
}

impl Tour<'_> {
    fn proven(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.stage.say(&format!("**Shown:** {what}"));
        self.proven.push(what);
    }

    /// Says a sentence to the agent and waits until it is done with it.
    async fn say(&mut self, session: &mut Session, words: &str) -> Result<Ended, Failure> {
        let run = self.send(session, words).await?;
        let ended = session.follow(&run, Until::Over, self.stage).await?;
        self.stage.say(&ended.text);
        Ok(ended)
    }

    async fn send(&mut self, session: &mut Session, words: &str) -> Result<String, Failure> {
        self.stage.say(&format!("**You:** {words}"));
        session.send(words).await
    }

    async fn walk(&mut self, house: &mut House) -> Result<(), Failure> {
        self.stage.say(
            "A guided minute with a real gateway in a throwaway folder. The answers come from the built-in rule-based \
             responder, which is *not a model*; policy, approvals, sandbox, log and recovery are the real ones.",
        );
        house.furnish().await?;
        house.start().await?;
        let mut session = house.session(SESSION).await?;
        self.read(&mut session).await?;
        self.write(&mut session, house).await?;
        self.run_commands(&mut session, house).await?;
        self.remember(&mut session, house).await?;
        let broken = match &self.walls {
            Walls::Stand => self.kill_in_a_call(session, house).await?,
            Walls::Missing(_) => self.kill_at_a_question(session, house).await?,
        };
        self.account(&broken, house).await
    }

    /// 1: real files.
    async fn read(&mut self, session: &mut Session) -> Result<(), Failure> {
        self.stage.chapter("It reads real files");
        self.stage.say("The agent lists a folder and reads a file of its workspace; reading needs no permission.");
        let ended = self
            .say(session, "list the files in notes and read todo.md")
            .await?;
        let listed = sample::NOTES
            .iter()
            .all(|(name, _)| ended.text.contains(name));
        promised(listed, "the answer names the files in `notes`", &ended.text)?;
        let read = sample::TODO.lines().all(|line| ended.text.contains(line));
        promised(read, "the answer has every line of `todo.md`", &ended.text)?;
        promised(ended.questions == 0, "reading asks nobody", &ended.text)?;
        self.proven("it read files that are really there, without asking");
        Ok(())
    }

    /// 2: a write asks first.
    async fn write(&mut self, session: &mut Session, house: &House) -> Result<(), Failure> {
        self.stage.chapter("It asks before it writes");
        self.stage.say("The exact call is shown and bound to your answer: what you allow is what runs, to the letter.");
        let file = house.workspace().join("shopping.md");
        let run = self
            .send(session, "write \"oat milk, coffee\" to shopping.md")
            .await?;
        let before = session.follow(&run, Until::Asked, self.stage).await?;
        promised(before.waits, "a write waits for an answer", &before.text)?;
        promised(
            !file.exists(),
            "nothing is written before the answer",
            "shopping.md is there",
        )?;
        let ended = session.follow(&run, Until::Over, self.stage).await?;
        self.stage.say(&ended.text);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if ended.allowed == 1 {
            promised(
                text.contains("oat milk, coffee"),
                "what was allowed is in the file",
                &text,
            )?;
            self.proven("nothing was written before the answer, and exactly that after it");
        } else {
            promised(!file.exists(), "what was denied did not happen", &text)?;
            self.proven("your no held: nothing was written");
        }
        Ok(())
    }

    /// 3: commands behind walls.
    async fn run_commands(&mut self, session: &mut Session, house: &House) -> Result<(), Failure> {
        self.stage.chapter("It runs commands behind walls");
        if let Walls::Missing(why) = &self.walls {
            let said = format!(
                "skipped: commands cannot be run here, and never run without walls ({why})"
            );
            self.stage.say(&said);
            let ended = self.say(session, "run `wc -l *.md`").await?;
            promised(
                ended.outcomes.iter().all(|it| it != "done"),
                "without walls no command runs",
                &ended.text,
            )?;
            self.proven("without a sandbox, commands are refused and not run on the host");
            self.proven.push(said);
            return Ok(());
        }
        self.stage.say("This command only reads, so it runs at once, in a sandbox with the workspace and nothing else.");
        let ended = self.say(session, "run `wc -l *.md`").await?;
        let lines = format!("{} todo.md", sample::TODO.lines().count());
        promised(
            ended.text.contains(&lines),
            "`wc` counts the lines of `todo.md`",
            &ended.text,
        )?;
        self.proven("a sandboxed command saw the workspace");

        self.stage
            .say("Some commands are never run, whatever anyone answers; nobody is even asked.");
        let ended = self.say(session, "run `rm -rf /`").await?;
        let refused = ended.outcomes == ["denied"] && ended.questions == 0;
        promised(
            refused,
            "a destructive command is refused without a question",
            &ended.text,
        )?;
        self.proven("a command that would destroy the machine was refused by rule");

        self.stage.say(
            "Keys are out of reach: even when this is allowed, the sandbox has no such folder.",
        );
        let ended = self.say(session, "run `cat ~/.ssh/id_demo`").await?;
        let kept = !ended.text.contains(SECRET) && !worked(&ended);
        promised(
            kept,
            "a key outside the workspace cannot be read",
            &ended.text,
        )?;
        self.proven("a key outside the workspace was not readable");

        self.stage.say(
            "There is no network either, not even to this machine: allowed or not, this does not get out.",
        );
        let wrong = |error| Failure::io("a listener", &error);
        let listener = TcpListener::bind("127.0.0.1:0").map_err(wrong)?;
        listener.set_nonblocking(true).map_err(wrong)?;
        let port = listener.local_addr().map_err(wrong)?.port();
        let words = format!("run `bash -c 'echo hello > /dev/tcp/127.0.0.1/{port}'`");
        let ended = self.say(session, &words).await?;
        let silent = listener.accept().is_err();
        promised(
            silent,
            "a command cannot reach the network",
            "a connection arrived",
        )?;
        promised(
            !worked(&ended),
            "a command cannot reach the network",
            &ended.text,
        )?;
        self.proven("a listener on this machine heard nothing from inside the sandbox");
        house.is_alive()
    }

    /// 4: memory beyond a session.
    async fn remember(&mut self, session: &mut Session, house: &House) -> Result<(), Failure> {
        self.stage.chapter("It remembers");
        self.stage
            .say("What it is told to remember is there in another session, too.");
        self.say(
            session,
            "remember that the spare key is under the blue flower pot",
        )
        .await?;
        let mut later = house.session(LATER).await?;
        let ended = self
            .say(&mut later, "what do you remember about the spare key?")
            .await?;
        promised(
            ended.text.contains("blue flower pot"),
            "a second session recalls it",
            &ended.text,
        )?;
        self.proven("a second session recalled what the first was told");
        Ok(())
    }

    /// 5: killed in the middle of a tool call.
    async fn kill_in_a_call(
        &mut self,
        mut session: Session,
        house: &mut House,
    ) -> Result<Broken, Failure> {
        self.stage
            .chapter("It is killed in the middle of a tool call, and goes on");
        self.stage.say(
            "A task of five steps. The third takes a while, and while it runs the gateway is killed with SIGKILL: no \
             warning, no goodbye.",
        );
        let slow =
            format!("echo third-begins >> {STEPS_FILE}; sleep 3; echo third-ends >> {STEPS_FILE}");
        let words = format!(
            "read todo.md then run `echo second >> {STEPS_FILE}` then run `{slow}` then run `wc -l todo.md` then search \
             for \"milk\" in notes"
        );
        let run = self.send(&mut session, &words).await?;
        let seen = session
            .follow(&run, Until::Started("sleep 3"), self.stage)
            .await?;
        if seen.over {
            self.stage
                .say("skipped: a step was denied, so there was nothing to interrupt.");
            self.proven("a denied step did not run, and the task went on without it");
            return Ok(Broken {
                run,
                inside_a_call: false,
            });
        }
        let denied = seen.outcomes.iter().filter(|it| *it == "denied").count();
        let steps = house.workspace().join(STEPS_FILE);
        house.wait_for(&steps, "third-begins").await?;
        let pid = house.kill().await?;
        let killed = std::time::Instant::now();
        drop(session);
        self.stage.say(&format!("**kill -9 {pid}** while `sleep 3` was running. Now it is started again, and nothing else is done."));
        house.start().await?;
        let session = house.session(SESSION).await?;
        let ended = session.wait_over(&run).await?;
        self.stage.say(&ended.text);
        promised(
            ended.state == "done",
            "the run ends by itself after the restart",
            &ended.state,
        )?;
        self.proven("the run was resumed by itself and came to its end");
        let calls = show::calls_of(&session, &run).await?;
        let doubt = calls.iter().filter(|it| it.outcome == "unknown").count();
        let done = calls.iter().filter(|it| it.outcome == "done").count();
        let list = calls
            .iter()
            .map(|it| format!("{}: {}", it.tool, it.outcome))
            .collect::<Vec<_>>()
            .join(", ");
        promised(
            calls.len() == 5 && doubt == 1 && done + denied == 4,
            "one of the five steps is marked as unknown, and no other is in doubt",
            &list,
        )?;
        self.proven("the step in doubt is called \"unknown\": it is neither repeated nor claimed to have worked");
        tokio::time::sleep(STEP_MAX.saturating_sub(killed.elapsed())).await;
        let text = std::fs::read_to_string(&steps).unwrap_or_default();
        let times = |word: &str| text.lines().filter(|line| *line == word).count();
        self.stage.say(&format!(
            "`{STEPS_FILE}` counts how often each step wrote:\n\n```\n{}\n```",
            text.trim_end()
        ));
        let once =
            times("second") + denied == 1 && times("third-begins") == 1 && times("third-ends") == 0;
        promised(
            once,
            "no step wrote twice, and none ran on without the gateway",
            &text,
        )?;
        self.proven("nothing ran twice, and the interrupted command died with the gateway");
        Ok(Broken {
            run,
            inside_a_call: true,
        })
    }

    /// 5, where no command can be run: killed while a question waits.
    async fn kill_at_a_question(
        &mut self,
        mut session: Session,
        house: &mut House,
    ) -> Result<Broken, Failure> {
        self.stage
            .chapter("It is killed while it waits for an answer, and goes on");
        self.stage.say("A task of five steps. While the second waits for your answer, the gateway is killed with SIGKILL.");
        let words = "read todo.md then write \"first draft\" to plan.md then read plan.md then list the files in notes \
                     then search for \"milk\" in notes";
        let run = self.send(&mut session, words).await?;
        let seen = session.follow(&run, Until::Asked, self.stage).await?;
        promised(seen.waits, "a write waits for an answer", &seen.text)?;
        let pid = house.kill().await?;
        drop(session);
        self.stage.say(&format!(
            "**kill -9 {pid}** while the question was open. Now it is started again."
        ));
        house.start().await?;
        let mut session = house.session(SESSION).await?;
        let allowed = session.answer_open(&run, self.stage).await?;
        let ended = session.wait_over(&run).await?;
        self.stage.say(&ended.text);
        promised(
            ended.state == "done",
            "the run ends after the restart",
            &ended.state,
        )?;
        let text = std::fs::read_to_string(house.workspace().join("plan.md")).unwrap_or_default();
        let right = if allowed {
            text.trim_end() == "first draft"
        } else {
            text.is_empty()
        };
        promised(right, "the answer given after the restart counts", &text)?;
        self.proven("the question outlived the kill, and the run came to its end");
        Ok(Broken {
            run,
            inside_a_call: false,
        })
    }

    /// 6: the books.
    async fn account(&mut self, broken: &Broken, house: &House) -> Result<(), Failure> {
        self.stage.chapter("It can account for all of it");
        let session = house.session(SESSION).await?;
        self.stage.say(
            "The run's log: every fact, in the order in which it was written, across the kill.",
        );
        let run = &broken.run;
        let log = show::log(&session, run).await?;
        self.stage.say(&log.text);
        promised(log.gapless, "the log is gapless", &log.text)?;
        promised(
            log.taken_over || !broken.inside_a_call,
            "the log tells where the call was cut off and the run taken over",
            &log.text,
        )?;
        self.stage
            .say("Its decisions: what policy said about each call, and who answered.");
        let why = show::decisions(&session, run).await?;
        self.stage.say(&why);
        self.stage.say("Its cost: the built-in responder costs nothing, and its calls are counted all the same.");
        let cost = show::cost(&session).await?;
        self.stage.say(&cost.text);
        promised(0 < cost.calls, "the calls are counted", &cost.text)?;
        self.proven("log, decisions and cost of the run are there, across the kill");
        let verified = show::verify(&session).await?;
        self.stage.say(&verified.text);
        promised(
            verified.ok,
            "the store is clean after the kill",
            &verified.text,
        )?;
        self.proven("after all that the store is consistent: `verify` finds nothing");
        Ok(())
    }
}

/// Whether a command ran and ended well.
fn worked(ended: &Ended) -> bool {
    ended.text.contains("[exit code 0]")
}

/// Whether an event says that the call started whose arguments hold `words`.
fn starts(kind: &EventKind, words: &str) -> bool {
    matches!(kind, EventKind::CallStarted { args, .. } if args.to_string().contains(words))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_broken_promise_names_itself() {
        let failure = promised(false, "nothing ran twice", "second\nsecond").unwrap_err();
        assert!(
            failure.message.contains("nothing ran twice")
                && failure.message.contains("second\nsecond")
        );
        assert_eq!(failure.exit, Exit::Failed);
    }
}
