//! What a row of the method table says, and what a handler is.

use std::future::Future;

use schemars::JsonSchema;
#[cfg(feature = "schema")]
use schemars::{Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::{Caller, Role, Scope};
use crate::fault::Fault;

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Operators with this scope.
    Operator(Scope),
    /// Nodes, and nobody else.
    Node,
}

impl Access {
    /// The role that may call.
    #[must_use]
    pub const fn role(self) -> Role {
        match self {
            Self::Operator(_) => Role::Operator,
            Self::Node => Role::Node,
        }
    }

    /// The scope that is asked for, of operators.
    #[must_use]
    pub const fn scope(self) -> Option<Scope> {
        match self {
            Self::Operator(scope) => Some(scope),
            Self::Node => None,
        }
    }

    /// The scope, or `node`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Operator(scope) => scope.word(),
            Self::Node => "node",
        }
    }
}

/// Whether a call changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It changes nothing.
    Read,
    /// It changes something; an idempotency key makes repeats harmless.
    Write,
}

/// What may overtake a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Anything.
    Free,
    /// No other ordered call of the same session in this gateway.
    BySession,
    /// No other call of the same lane in this gateway.
    Global(&'static str),
}

/// How often a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Once.
    Once,
    /// In Frames twice with the same id: accepted, then the end. In JSON-RPC the first answer is the result.
    AckThenFinal,
}

/// One method.
pub trait Method: Send + Sync + 'static {
    /// Name on the wire.
    const NAME: &'static str;
    /// What it takes.
    type Params: DeserializeOwned + JsonSchema + Send + 'static;
    /// What it gives.
    type Result: Serialize + DeserializeOwned + JsonSchema + Send + 'static;
}

/// A row of the table, as data.
#[derive(Debug, Clone, Copy)]
pub struct MethodSpec {
    /// Name on the wire.
    pub name: &'static str,
    /// What it does: the row's comment, line by line.
    pub docs: &'static [&'static str],
    /// Who may call.
    pub access: Access,
    /// Whether it changes something.
    pub kind: Kind,
    /// What may overtake it.
    pub order: Order,
    /// How often it is answered.
    pub reply: Reply,
    /// Schema of the parameters.
    #[cfg(feature = "schema")]
    pub params: fn(&mut SchemaGenerator) -> Schema,
    /// Schema of the result.
    #[cfg(feature = "schema")]
    pub result: fn(&mut SchemaGenerator) -> Schema,
}

impl MethodSpec {
    /// The comment as one paragraph.
    #[must_use]
    pub fn summary(&self) -> String {
        self.docs
            .iter()
            .map(|line| line.trim())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Answers one method.
pub trait Handle<M: Method>: Send + Sync {
    /// Answers one call. The caller's scope was checked.
    fn handle(
        &self,
        caller: &Caller,
        params: M::Params,
    ) -> impl Future<Output = Result<M::Result, Fault>> + Send;
}

/// `Node`, or the scope that operators need.
macro_rules! access {
    (Node) => {
        $crate::method::Access::Node
    };
    ($scope:ident) => {
        $crate::method::Access::Operator($crate::access::Scope::$scope)
    };
}

pub(crate) use access;

macro_rules! methods {
    ($(
        $(#[doc = $doc:literal])*
        $marker:ident = $name:literal ($params:ty) -> $result:ty
            { access: $scope:ident, kind: $kind:ident, order: $order:expr, reply: $reply:ident }
    )*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Debug, Clone, Copy)]
            pub struct $marker;

            impl $crate::method::Method for $marker {
                const NAME: &'static str = $name;
                type Params = $params;
                type Result = $result;
            }
        )*

        /// The rows of this namespace.
        pub(crate) const ROWS: &[$crate::method::MethodSpec] = &[ $(
            $crate::method::MethodSpec {
                name: $name,
                docs: &[ $( $doc ),* ],
                access: $crate::method::access!($scope),
                kind: $crate::method::Kind::$kind,
                order: $order,
                reply: $crate::method::Reply::$reply,
                #[cfg(feature = "schema")]
                params: |generator| generator.subschema_for::<$params>(),
                #[cfg(feature = "schema")]
                result: |generator| generator.subschema_for::<$result>(),
            },
        )* ];

        /// Answers every method of this namespace.
        pub trait Serves: $( $crate::method::Handle<$marker> + )* Send + Sync {}

        impl<T> Serves for T where T: $( $crate::method::Handle<$marker> + )* Send + Sync {}

        /// Calls the method of this name, if it is of this namespace.
        pub(crate) async fn call<S: Serves>(
            server: &S,
            caller: &$crate::access::Caller,
            name: &str,
            params: &serde_json::value::RawValue,
        ) -> Result<Box<serde_json::value::RawValue>, $crate::fault::Fault> {
            match name {
                $( $name => {
                    let params = $crate::methods::decode::<$marker>(params)?;
                    let answer = Box::pin(
                        <S as $crate::method::Handle<$marker>>::handle(server, caller, params),
                    );
                    $crate::methods::encode(&answer.await?)
                } )*
                _ => Err($crate::fault::Fault::unknown_method(name)),
            }
        }
    };
}

pub(crate) use methods;
