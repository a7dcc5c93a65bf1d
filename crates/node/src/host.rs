//! What this machine offers, and carrying it out: once per key, a few at a time, in time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Mutex, Semaphore};

use adjutant_ports::Clock;

use crate::capability::{Capability, Effect, NodeFault, Offer, Order};
use crate::config::Config;
use crate::families;
use crate::frames::InvokeRequest;
use crate::results::{Known, Outcome, Results, Ticket};
use crate::state::Diary;

/// Commands carried out at the same time.
const AT_ONCE: usize = 4;
/// Commands that may wait for their turn.
const QUEUED_MAX: usize = 16;
/// Bytes of a command's parameters.
const PARAMS_BYTES_MAX: usize = 2 << 20;
/// How long a command may take when the request does not say.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a command may take at most.
const TIMEOUT_MAX: Duration = Duration::from_secs(35 * 60);

/// What this machine offers.
pub struct NodeHost {
    commands: BTreeMap<&'static str, (Offer, Arc<dyn Capability>)>,
    caps: Vec<String>,
    results: Arc<Results>,
    diary: Diary,
    clock: Arc<dyn Clock>,
    slots: Semaphore,
    places: Semaphore,
    alone: BTreeMap<&'static str, Mutex<()>>,
}

impl NodeHost {
    /// Looks what this machine has; `folder` is the node's own.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub async fn find(
        config: &Config,
        folder: &Path,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let families = families::found(config, folder).await?;
        Self::of(&config.without, families, folder, clock)
    }

    /// A host of the given families, without the commands and families named in `without`.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn of(
        without: &[String],
        families: Vec<Arc<dyn Capability>>,
        folder: &Path,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let left_out = |name: &str| without.iter().any(|it| it == name);
        let mut commands = BTreeMap::new();
        let mut caps = Vec::new();
        for family in families.into_iter().filter(|it| !left_out(it.family())) {
            let offers = family.offers().into_iter();
            let mut any = false;
            for offer in offers.filter(|it| !left_out(it.name)) {
                commands.insert(offer.name, (offer, Arc::clone(&family)));
                any = true;
            }
            if any && !caps.iter().any(|it| it == family.family()) {
                caps.push(family.family().to_owned());
            }
        }
        caps.sort();
        let words = commands.values().filter_map(|(offer, _)| offer.alone);
        let alone = words.map(|word| (word, Mutex::new(()))).collect();
        Ok(Self {
            commands,
            caps,
            results: Results::open(&folder.join("results"))?,
            diary: Diary::open(folder),
            clock,
            slots: Semaphore::new(AT_ONCE),
            places: Semaphore::new(AT_ONCE + QUEUED_MAX),
            alone,
        })
    }

    /// Families, sorted.
    #[must_use]
    pub fn caps(&self) -> &[String] {
        &self.caps
    }

    /// Commands, sorted.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        self.commands.keys().map(|it| (*it).to_owned()).collect()
    }

    /// Carries out what was asked, or says how it ended the first time. The text of the payload, or the fault.
    pub(crate) async fn answer(&self, request: &InvokeRequest, answer_bytes_max: usize) -> Outcome {
        let outcome = self.judge(request, answer_bytes_max).await;
        let word = outcome.as_ref().err().map_or("ok", |fault| &fault.code);
        self.diary.note(self.clock.now(), &request.command, word);
        outcome
    }

    async fn judge(&self, request: &InvokeRequest, answer_bytes_max: usize) -> Outcome {
        let Some((offer, family)) = self.commands.get(request.command.as_str()) else {
            let message = format!("this node does not offer `{}`", request.command);
            return Err(NodeFault::new("UNSUPPORTED", message));
        };
        let params = request.params_json.as_deref().unwrap_or("{}");
        if PARAMS_BYTES_MAX < params.len() {
            return Err(NodeFault::params("the parameters are larger than 2 MiB"));
        }
        let order = Order {
            command: request.command.clone(),
            params: read_params(params)?,
            timeout: request
                .timeout_ms
                .map_or(TIMEOUT, Duration::from_millis)
                .min(TIMEOUT_MAX),
            answer_bytes_max,
        };
        let key = request.idempotency_key.as_deref().unwrap_or(&request.id);
        let digest = adjutant_vault::digest(format!("{}\n{params}", request.command).as_bytes());
        match self
            .results
            .begin(key, &digest, offer.effect, self.clock.now())
        {
            Known::Done(outcome) => outcome,
            Known::Running(mut waits) => match waits.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone().unwrap_or_else(|| Err(lost())),
                Err(_ended) => Err(lost()),
            },
            Known::Lost => Err(lost()),
            Known::Other => Err(NodeFault::new(
                "IDEMPOTENCY_MISMATCH",
                "this key was used for another command or other parameters",
            )),
            Known::Fresh(ticket) => self.carry_out(ticket, *offer, family, &order).await,
        }
    }

    async fn carry_out(
        &self,
        ticket: Ticket,
        offer: Offer,
        family: &Arc<dyn Capability>,
        order: &Order,
    ) -> Outcome {
        let busy = || {
            let outcome = Err(NodeFault::new(
                "NODE_BUSY",
                format!(
                    "`{}` cannot be carried out now; try again later",
                    order.command
                ),
            ));
            (outcome.clone(), outcome)
        };
        let Ok(_place) = self.places.try_acquire() else {
            let (told, outcome) = busy();
            ticket.give_up(told);
            return outcome;
        };
        let alone = match offer.alone.and_then(|word| self.alone.get(word)) {
            None => None,
            Some(mutex) => match mutex.try_lock() {
                Ok(guard) => Some(guard),
                Err(_taken) => {
                    let (told, outcome) = busy();
                    ticket.give_up(told);
                    return outcome;
                }
            },
        };
        let work = async {
            // Closed never: the semaphore lives as long as the host.
            let _slot = self.slots.acquire().await;
            family.invoke(order).await
        };
        let outcome = match tokio::time::timeout(order.timeout, work).await {
            Ok(Ok(payload)) => within(&payload, order.answer_bytes_max),
            Ok(Err(fault)) => Err(fault),
            Err(_late) => Err(NodeFault::new(
                "NODE_TIMEOUT",
                format!(
                    "`{}` did not end within {} ms",
                    order.command,
                    order.timeout.as_millis()
                ),
            )),
        };
        drop(alone);
        ticket.finish(outcome.clone(), self.clock.now());
        outcome
    }
}

fn read_params(text: &str) -> Result<Value, NodeFault> {
    match serde_json::from_str(text) {
        Ok(Value::Null) => Ok(Value::Object(serde_json::Map::new())),
        Ok(params @ Value::Object(_)) => Ok(params),
        Ok(_) => Err(NodeFault::params("the parameters must be an object")),
        Err(error) => Err(NodeFault::params(format!(
            "the parameters are no JSON: {error}"
        ))),
    }
}

fn within(payload: &Value, bytes_max: usize) -> Outcome {
    let text = payload.to_string();
    if bytes_max < text.len() {
        return Err(NodeFault::new(
            "PAYLOAD_TOO_LARGE",
            format!(
                "the answer has {} bytes, this connection carries {bytes_max}",
                text.len()
            ),
        ));
    }
    Ok(text)
}

fn lost() -> NodeFault {
    NodeFault::new(
        "OUTCOME_UNKNOWN",
        "the command was begun before this node restarted; whether it was carried out is not known, and it is not repeated",
    )
}

/// Whether a command may be repeated, for those who ask by name.
impl NodeHost {
    /// What happens if `command` runs twice; none when it is not offered.
    #[must_use]
    pub fn effect(&self, command: &str) -> Option<Effect> {
        self.commands.get(command).map(|(offer, _)| offer.effect)
    }
}
