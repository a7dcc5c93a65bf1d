//! What a claim holder may write, in any database.

use std::time::Duration;

use adjutant_domain::approval::Grant;
use adjutant_domain::id::OwnerId;
use adjutant_domain::run::{Entry, Fence, Run};
use adjutant_ports::store::{Append, Cap, StoreError, Stored};

/// Workers that have not been seen for this long are forgotten.
pub(crate) const GONE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// An append that owns what it writes.
pub(crate) struct Work {
    pub(crate) run: Run,
    pub(crate) fence: Fence,
    pub(crate) entries: Vec<Entry>,
    pub(crate) caps: Vec<Cap>,
    pub(crate) grants: Vec<Grant>,
}

impl Work {
    /// Refuses what no claim holder may write (R3).
    pub(crate) fn new(append: Append<'_>) -> Stored<Self> {
        let Append {
            run,
            fence,
            entries,
            caps,
            grants,
        } = append;
        let last = entries.len().saturating_sub(1);
        for (i, entry) in entries.iter().enumerate() {
            let illegal = match entry {
                Entry::Accepted { .. } | Entry::Claimed { .. } => Some("is written by the store"),
                Entry::Parked { .. } | Entry::Finished { .. } if i < last => {
                    Some("gives the claim back")
                }
                _ => None,
            };
            if let Some(why) = illegal {
                let reason = format!("`{}` {why}: nothing else goes there", entry.word());
                return Err(StoreError::Conflict { reason });
            }
        }
        if grants.iter().any(|grant| grant.owner != run.owner) {
            return Err(StoreError::Conflict {
                reason: "a grant of another owner".to_owned(),
            });
        }
        Ok(Self {
            run: run.clone(),
            fence,
            entries,
            caps,
            grants,
        })
    }

    pub(crate) fn owner(&self) -> &OwnerId {
        &self.run.owner
    }
}
