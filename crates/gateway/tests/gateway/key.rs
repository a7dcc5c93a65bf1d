//! A device of a client: a key, and `connect` frames signed with it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

use adjutant_vault::{digest, digest_bytes};

use crate::world::{Client, TOKEN, World};

/// A device.
pub(crate) struct Key(SigningKey);

impl Key {
    pub(crate) fn new(name: &str) -> Self {
        Self(SigningKey::from_bytes(&digest_bytes(name.as_bytes())))
    }

    pub(crate) fn id(&self) -> String {
        digest(self.0.verifying_key().as_bytes())
    }

    pub(crate) fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.verifying_key().as_bytes())
    }

    /// Puts the proof into a `connect` frame, signed as `version` says.
    pub(crate) fn sign(&self, frame: &mut Value, version: u8, nonce: &str, at: i64) {
        let params = &frame["params"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let auth = &params["auth"];
        let token = ["token", "deviceToken", "bootstrapToken"]
            .iter()
            .find_map(|name| auth[name].as_str())
            .unwrap_or_default();
        let scopes: Vec<String> = params["scopes"]
            .as_array()
            .map(|scopes| scopes.iter().map(text).collect())
            .unwrap_or_default();
        let client = &params["client"];
        let mut line = format!(
            "v{version}|{}|{}|{}|{}|{}|{at}|{token}",
            self.id(),
            text(&client["id"]),
            text(&client["mode"]),
            params["role"].as_str().unwrap_or("operator"),
            scopes.join(","),
        );
        if version >= 2 {
            line = format!("{line}|{nonce}");
        }
        if version >= 3 {
            let plain = |value: &Value| text(value).trim().to_ascii_lowercase();
            let family = plain(&client["deviceFamily"]);
            line = format!("{line}|{}|{family}", plain(&client["platform"]));
        }
        let signature = URL_SAFE_NO_PAD.encode(self.0.sign(line.as_bytes()).to_bytes());
        let mut proof = json!({
            "id": self.id(), "publicKey": self.public(), "signature": signature, "signedAt": at,
        });
        if version >= 2 {
            proof["nonce"] = json!(nonce);
        }
        frame["params"]["device"] = proof;
    }
}

/// What a client asks with.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) protocol: u32,
    pub(crate) role: &'static str,
    pub(crate) scopes: Vec<&'static str>,
    pub(crate) auth: Value,
    pub(crate) commands: Vec<&'static str>,
    pub(crate) platform: &'static str,
    pub(crate) client: (&'static str, &'static str),
    pub(crate) version: u8,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Ask {
    pub(crate) fn operator(scopes: &[&'static str]) -> Self {
        Self {
            protocol: 4,
            role: "operator",
            scopes: scopes.to_vec(),
            auth: json!({ "token": TOKEN }),
            commands: vec![],
            platform: "linux",
            client: ("cli", "cli"),
            version: 3,
            headers: vec![],
        }
    }

    pub(crate) fn node(commands: &[&'static str]) -> Self {
        Self {
            role: "node",
            commands: commands.to_vec(),
            client: ("node-host", "node"),
            ..Self::operator(&[])
        }
    }

    pub(crate) fn v3(mut self) -> Self {
        self.protocol = 3;
        self
    }

    /// Through a proxy that is trusted: a peer that is not on this machine.
    pub(crate) fn afar(mut self, address: &str) -> Self {
        self.headers.push(("x-forwarded-for", address.to_owned()));
        self
    }

    pub(crate) fn with(mut self, auth: Value) -> Self {
        self.auth = auth;
        self
    }

    pub(crate) fn frame(&self) -> Value {
        let mut frame = json!({
            "type": "req", "id": "c1", "method": "connect", "params": {
                "minProtocol": self.protocol, "maxProtocol": self.protocol,
                "client": {
                    "id": self.client.0, "version": "dev", "platform": self.platform, "mode": self.client.1,
                    "displayName": "a box",
                },
                "caps": [], "role": self.role, "scopes": self.scopes, "auth": self.auth,
            },
        });
        if self.role == "node" {
            frame["params"]["commands"] = json!(self.commands);
        }
        frame
    }
}

/// How `connect` ended.
pub(crate) enum Ended {
    In(Box<Client>, Value),
    Out {
        code: u16,
        reason: String,
        error: Value,
    },
}

impl Ended {
    pub(crate) fn hello(self) -> (Client, Value) {
        match self {
            Self::In(client, hello) => (*client, hello),
            Self::Out { error, .. } => panic!("refused: {error}"),
        }
    }

    pub(crate) fn error(self) -> Value {
        match self {
            Self::In(_, hello) => panic!("let in: {}", hello["auth"]),
            Self::Out { code, error, .. } => {
                assert_eq!(code, 1008, "{error}");
                error
            }
        }
    }

    pub(crate) fn detail(self) -> Value {
        self.error()["details"]["code"].clone()
    }
}

impl World {
    pub(crate) async fn device(&self, key: &Key, ask: &Ask) -> Ended {
        let mut client = self.ws("/", &ask.headers).await.unwrap();
        let challenge = client.next().await;
        let nonce = challenge["payload"]["nonce"].as_str().unwrap().to_owned();
        let mut frame = ask.frame();
        let at = challenge["payload"]["ts"].as_i64().unwrap();
        key.sign(&mut frame, ask.version, &nonce, at);
        self.connect_with(client, frame).await
    }

    pub(crate) async fn connect_with(&self, mut client: Client, frame: Value) -> Ended {
        client.say(frame).await;
        let answer = client.next().await;
        if answer["ok"] == true {
            return Ended::In(Box::new(client), answer["payload"].clone());
        }
        let (code, reason, _) = client.closed().await;
        Ended::Out {
            code,
            reason,
            error: answer["error"].clone(),
        }
    }
}
