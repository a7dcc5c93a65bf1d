//! Everything an owner can read, as text.

use futures::executor::block_on;

use adjutant_domain::id::{OwnerId, RunId};
use adjutant_domain::need::Needs;
use adjutant_domain::run::{RunStatus, Seq};
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{CapScope, GroupBy, Hidden, HistoryAsk, Page};

use crate::side::{DATABASES, Side, gpu};

impl Side {
    fn look_at_seats(&self, whose: &OwnerId, said: &mut Vec<String>) {
        let page = Page {
            limit: 100,
            offset: 0,
        };
        for seat in block_on(self.store.sessions(whose, page)).unwrap() {
            let thread = block_on(self.store.thread(whose, seat.thread))
                .unwrap()
                .unwrap();
            said.push(format!(
                "{} {:?} {} {}",
                seat.key,
                seat.label,
                thread.messages,
                thread.updated_at.as_millis()
            ));
            for (hidden, before) in [(Hidden::Skip, None), (Hidden::Show, Some(3))] {
                let found = self.store.messages(whose, seat.thread, 4, before, hidden);
                for message in block_on(found).unwrap() {
                    said.push(format!(
                        "{:?} {:?} {}",
                        message.seq,
                        message.role,
                        message.text()
                    ));
                }
            }
            let wanted = HistoryAsk {
                thread: seat.thread,
                run: RunId::from_u128(0),
                from: 3,
                limit: 4,
            };
            let history = block_on(self.store.history(whose, &wanted)).unwrap();
            let seqs: Vec<_> = history.messages.iter().map(|m| m.seq).collect();
            said.push(format!("hidden {} {seqs:?}", history.hidden_through));
            let scope = CapScope::Session { session: seat.id };
            said.push(format!(
                "{:?}",
                block_on(self.store.spend(whose, &scope)).unwrap()
            ));
        }
        said.push(format!(
            "{}",
            block_on(self.store.threads(whose, page)).unwrap().len()
        ));
    }

    /// Everything an owner can read.
    pub(crate) fn look(&self, whose: &OwnerId) -> String {
        let mut said = Vec::new();
        self.look_at_seats(whose, &mut said);
        for info in block_on(self.store.recent_runs(whose, 100)).unwrap() {
            let log = block_on(self.store.log(whose, info.run.id, Seq(2))).unwrap();
            said.push(format!(
                "{} {} {} {:?} {:?} {} {:?}",
                self.place(info.run.id),
                info.status.word(),
                info.accepted_at.as_millis(),
                info.started_at.map(Timestamp::as_millis),
                info.finished_at.map(Timestamp::as_millis),
                matches!(info.status, RunStatus::Running) == info.worker.is_some(),
                log.iter().map(|it| it.entry.word()).collect::<Vec<_>>()
            ));
        }
        let active = block_on(self.store.active_runs(whose, None)).unwrap();
        said.push(format!(
            "{:?}",
            active
                .iter()
                .map(|it| self.place(it.run.id))
                .collect::<Vec<_>>()
        ));
        for open_only in [true, false] {
            let found = block_on(self.store.approvals(whose, open_only, 100)).unwrap();
            said.push(format!(
                "{:?}",
                found
                    .iter()
                    .map(|it| (it.state, it.canonical.to_string()))
                    .collect::<Vec<_>>()
            ));
        }
        for by in [
            GroupBy::Day,
            GroupBy::Model,
            GroupBy::Session,
            GroupBy::Agent,
        ] {
            said.push(format!(
                "{DATABASES} {:?}",
                block_on(self.store.costs(whose, by, "2000-01-01", "2100-01-01")).unwrap()
            ));
        }
        let events = block_on(self.store.events_since(whose, 0, 10_000)).unwrap();
        let rises = events
            .windows(2)
            .all(|pair| pair[0].cursor < pair[1].cursor);
        let (of_runs, of_seats): (Vec<_>, Vec<_>) = events.iter().partition(|it| it.run.is_some());
        let say = |events: Vec<&adjutant_domain::Event>| -> Vec<String> {
            let say = |it: &&adjutant_domain::Event| {
                let kind = serde_json::to_value(&it.kind).unwrap();
                let run = it.run.map(|run| self.place(run));
                format!("{} {run:?} {}", kind["type"], it.at.as_millis())
            };
            events.iter().map(say).collect()
        };
        said.push(format!("{DATABASES} {:?}", say(of_seats)));
        said.push(format!("{rises} {:?}", say(of_runs)));
        said.push(format!("{:?}", block_on(self.store.queue_depth()).unwrap()));
        for offers in [Needs::default(), gpu()] {
            let due = block_on(self.store.next_due(&offers));
            said.push(format!("{:?}", due.unwrap()));
        }
        let audit = block_on(self.store.audit_records(whose, 100)).unwrap();
        said.push(format!(
            "{:?}",
            audit
                .iter()
                .map(|it| (it.seq, it.action.clone()))
                .collect::<Vec<_>>()
        ));
        said.join("\n")
    }
}
