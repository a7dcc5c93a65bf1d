//! Tickets: who may look at which canvas, and for how long.
//!
//! A ticket is a part of the address (a capability URL). Pages of a canvas have no origin of their own (see `policy.rs`),
//! and a browser sends no cookie for such a page, so the address is the only place that its parts can show it from. It
//! opens one session's canvas, nothing of the API, and ends soon after the last look. Only its digest is kept.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use adjutant_domain::id::{DeviceId, SessionId};
use adjutant_vault::digest;

/// How long a ticket lives after it was last shown.
pub(crate) const TICKET_LIFE: Duration = Duration::from_secs(15 * 60);
/// Tickets at once; one more ends the one that would end next.
const TICKETS_MAX: usize = 256;

/// What a ticket opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) session: SessionId,
    /// Surface and principal it was given to.
    pub(crate) given_to: String,
    /// The device it was given to; it ends with the device.
    pub(crate) device: Option<DeviceId>,
}

/// All tickets that are out.
#[derive(Default)]
pub(crate) struct Tickets(Mutex<BTreeMap<String, (Ticket, Duration)>>);

impl Tickets {
    /// Gives out a ticket; the text is told once.
    pub(crate) fn give(&self, ticket: Ticket, entropy: u128, now: Duration) -> String {
        let text = format!("{entropy:032x}");
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (_, until)| now < *until);
        if TICKETS_MAX <= all.len() {
            let next = all.iter().min_by_key(|(_, (_, until))| *until);
            if let Some(name) = next.map(|(name, _)| name.clone()) {
                all.remove(&name);
            }
        }
        all.insert(digest(text.as_bytes()), (ticket, now + TICKET_LIFE));
        text
    }

    /// What this text opens, if anything; its life begins anew.
    pub(crate) fn show(&self, text: &str, now: Duration) -> Option<Ticket> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (ticket, until) = all.get_mut(&digest(text.as_bytes()))?;
        if *until <= now {
            return None;
        }
        *until = now + TICKET_LIFE;
        Some(ticket.clone())
    }

    /// Ends the tickets of a device.
    pub(crate) fn end(&self, device: &DeviceId) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, (ticket, _)| ticket.device.as_ref() != Some(device));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(n: u128) -> Ticket {
        Ticket {
            session: SessionId::from_u128(n),
            given_to: "http:token".to_owned(),
            device: None,
        }
    }

    #[test]
    fn a_ticket_lives_as_long_as_it_is_shown() {
        let tickets = Tickets::default();
        let text = tickets.give(ticket(1), 7, Duration::ZERO);
        let nearly = TICKET_LIFE - Duration::from_secs(1);
        assert_eq!(tickets.show(&text, nearly), Some(ticket(1)));
        assert_eq!(tickets.show(&text, nearly + nearly), Some(ticket(1)));
        assert_eq!(tickets.show(&text, nearly + nearly + TICKET_LIFE), None);
        assert_eq!(tickets.show("00", Duration::ZERO), None);
    }

    #[test]
    fn one_more_than_there_may_be_ends_the_oldest() {
        let tickets = Tickets::default();
        let first = tickets.give(ticket(0), 0, Duration::ZERO);
        for n in 1..=TICKETS_MAX as u128 {
            tickets.give(ticket(n), n, Duration::from_secs(1));
        }
        assert_eq!(tickets.show(&first, Duration::from_secs(2)), None);
    }

    #[test]
    fn a_device_takes_its_tickets_along() {
        let tickets = Tickets::default();
        let device = DeviceId::parse("ab".repeat(32)).ok();
        let of_device = Ticket {
            device: device.clone(),
            ..ticket(1)
        };
        let gone = tickets.give(of_device, 1, Duration::ZERO);
        let kept = tickets.give(ticket(2), 2, Duration::ZERO);
        device.iter().for_each(|it| tickets.end(it));
        assert_eq!(tickets.show(&gone, Duration::ZERO), None);
        assert_eq!(tickets.show(&kept, Duration::ZERO), Some(ticket(2)));
    }
}
