//! `location.get`: where this machine stands, as its owner wrote it down.

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::capability::{Capability, NodeFault, Offer, Order};
use crate::config::Place;

/// A place that does not change.
pub(super) struct Location {
    place: Place,
}

impl Location {
    pub(super) const fn fixed(place: Place) -> Self {
        Self { place }
    }
}

#[async_trait]
impl Capability for Location {
    fn family(&self) -> &'static str {
        "location"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer::reads("location.get")]
    }

    async fn invoke(&self, order: &Order) -> Result<Value, NodeFault> {
        let coarse = order.params.get("desiredAccuracy").and_then(Value::as_str) == Some("coarse");
        let Place {
            latitude,
            longitude,
            accuracy_meters,
        } = self.place;
        // About a kilometre, for those who ask for no more.
        let cut = |it: f64| {
            if coarse {
                (it * 100.0).round() / 100.0
            } else {
                it
            }
        };
        Ok(json!({
            "lat": cut(latitude),
            "lon": cut(longitude),
            "accuracyMeters": if coarse { accuracy_meters.max(1_000.0) } else { accuracy_meters },
            "isPrecise": !coarse,
            "source": "unknown",
            "fixed": true,
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_fixed_place_says_that_it_is_one_and_blurs_when_asked() {
        let location = Location::fixed(Place {
            latitude: 48.123_456,
            longitude: 11.654_321,
            accuracy_meters: 30.0,
        });
        let order = |params: Value| Order {
            command: "location.get".to_owned(),
            params,
            timeout: Duration::from_secs(1),
            answer_bytes_max: 1 << 20,
        };
        let exact = location.invoke(&order(json!({}))).await.unwrap();
        assert_eq!(
            (&exact["lat"], &exact["fixed"]),
            (&json!(48.123_456), &json!(true))
        );
        let coarse = location
            .invoke(&order(json!({ "desiredAccuracy": "coarse" })))
            .await
            .unwrap();
        assert_eq!(
            (&coarse["lat"], &coarse["accuracyMeters"]),
            (&json!(48.12), &json!(1000.0))
        );
    }
}
