//! What all tools share: the specification made from the type of the arguments, and the way from a permit to an act.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::label::{Label, Origin, Trust};
use adjutant_domain::tool::{ActionClass, Effect, Operand, ToolCall, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::files::FileError;
use adjutant_ports::{StoreError, Tool, ToolCx, ToolError};

/// Why an act ended without its result.
#[derive(Debug)]
pub(crate) enum Halt {
    /// A sentence the model can act on.
    Failed(String),
    /// Nothing can be said for the model.
    Broken(ToolError),
}

impl Halt {
    /// A sentence the model can act on.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }
}

impl From<ToolError> for Halt {
    fn from(error: ToolError) -> Self {
        Self::Broken(error)
    }
}

impl From<FileError> for Halt {
    fn from(error: FileError) -> Self {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::Failed(text)
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Broken(ToolError::Unavailable {
            what: "the memory store",
            reason: error.to_string(),
        })
    }
}

/// A tool without the ceremony: arguments in, outcome out.
#[async_trait]
pub(crate) trait Act: Send + Sync + 'static {
    /// The arguments; the schema the model sees is made from this type.
    type Args: DeserializeOwned + JsonSchema + Send;

    /// Name, schema, effect class, trust level.
    fn spec(&self) -> &ToolSpec;

    /// Does it. `args` are those of `permit`.
    async fn act(
        &self,
        args: Self::Args,
        permit: &Permit,
        cx: &ToolCx,
    ) -> Result<ToolOutcome, Halt>;

    /// See [`Tool::probe`].
    async fn look_back(&self, args: Self::Args, cx: &ToolCx) -> Option<ToolOutcome> {
        let _ = (args, cx);
        None
    }
}

/// An [`Act`] as a [`Tool`]: checks the permit before anything else happens.
pub(crate) struct Built<A>(A);

impl<A: Act> Built<A> {
    /// Puts a tool where many runs can share it.
    pub(crate) fn share(act: A) -> Arc<dyn Tool> {
        Arc::new(Self(act))
    }
}

#[async_trait]
impl<A: Act> Tool for Built<A> {
    fn spec(&self) -> &ToolSpec {
        self.0.spec()
    }

    async fn run(&self, permit: Permit, cx: &ToolCx) -> Result<ToolOutcome, ToolError> {
        let name = &self.0.spec().name;
        if permit.tool() != name {
            let reason = format!("it was given for `{}`, not for `{name}`", permit.tool());
            return Err(ToolError::NotPermitted { reason });
        }
        let args = match serde_json::from_value(permit.args().clone()) {
            Ok(args) => args,
            Err(error) => {
                let text = format!("the arguments of `{name}` do not fit: {error}");
                return Ok(ToolOutcome::Failed { text });
            }
        };
        match self.0.act(args, &permit, cx).await {
            Ok(outcome) => Ok(outcome),
            Err(Halt::Failed(text)) => Ok(ToolOutcome::Failed { text }),
            Err(Halt::Broken(error)) => Err(error),
        }
    }

    async fn probe(&self, call: &ToolCall, cx: &ToolCx) -> Option<ToolOutcome> {
        if call.name != self.0.spec().name {
            return None;
        }
        let args = serde_json::from_value(call.args.clone()).ok()?;
        self.0.look_back(args, cx).await
    }
}

/// Text that came from somewhere.
pub(crate) fn found(text: impl Into<String>, origin: Origin) -> ToolOutcome {
    ToolOutcome::Done {
        text: text.into(),
        label: Label::of(origin),
    }
}

/// Our own report about what was done. It repeats words of the model, so it is trusted no further than those.
pub(crate) fn report(text: impl Into<String>) -> ToolOutcome {
    ToolOutcome::Done {
        text: text.into(),
        label: Label::of(Origin::System).at_most(Trust::Model),
    }
}

/// What a tool is, besides its arguments.
pub(crate) struct Traits {
    /// Name, unique.
    pub(crate) name: &'static str,
    /// One sentence for the model.
    pub(crate) about: &'static str,
    /// What happens if a call runs twice.
    pub(crate) effect: Effect,
    /// Trust level from which an agent may have it.
    pub(crate) level: TrustLevel,
    /// Kind of effect.
    pub(crate) class: ActionClass,
    /// What the arguments mean to policy.
    pub(crate) operands: Vec<Operand>,
}

impl Traits {
    /// The specification, with a schema for `Args`.
    pub(crate) fn with<Args: JsonSchema>(self) -> ToolSpec {
        ToolSpec {
            name: self.name.to_owned(),
            description: self.about.to_owned(),
            schema: schema::<Args>(),
            effect: self.effect,
            level: self.level,
            class: self.class,
            operands: self.operands,
            asks_owner: false,
        }
    }
}

/// The schema of `Args`, without anything that costs tokens and tells a model nothing.
fn schema<Args: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|it| it.inline_subschemas = true);
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<Args>()
        .to_value();
    trim(&mut schema);
    schema
}

fn trim(schema: &mut Value) {
    let Value::Object(object) = schema else {
        return;
    };
    for key in ["$schema", "title", "format", "default"] {
        object.shift_remove(key);
    }
    if object.contains_key("properties") {
        // The description of the whole object is the tool's, and is sent beside the schema.
        object.shift_remove("description");
    }
    // Absent means default, so "or null" says nothing.
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|it| it != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("enum") {
        choices.retain(|it| !it.is_null());
    }
    if let Some(inner) = sole_choice(object) {
        object.shift_remove("anyOf");
        for (key, value) in inner {
            object.entry(key).or_insert(value);
        }
    }
    if object.get("minimum").is_some_and(|it| it == 0) {
        object.shift_remove("minimum");
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.values_mut().for_each(trim);
    }
    if let Some(items) = object.get_mut("items") {
        trim(items);
    }
}

/// What is left of `anyOf: [X, null]`.
fn sole_choice(object: &Map<String, Value>) -> Option<Map<String, Value>> {
    let choices = object.get("anyOf")?.as_array()?;
    let mut real = choices
        .iter()
        .filter(|it| it.get("type").is_none_or(|kind| kind != "null"));
    let only = real.next()?;
    real.next().is_none().then(|| only.as_object().cloned())?
}
