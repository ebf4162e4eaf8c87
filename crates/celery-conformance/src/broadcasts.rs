//! Rules for broadcasts.

use std::time::Duration;

use celery_protocol::Message;
use celery_runtime::broker::{Broadcast, Consumer, Delivery, Guarantee, Publish, SharedBroker, Subscription};

use super::{A_WHILE, Fixture, SOON, next};

fn broadcast(to: Broadcast, routing_key: &str, text: &str) -> Publish {
    Publish {
        exchange: to.exchange().to_owned(),
        routing_key: routing_key.to_owned(),
        message: Message::json(format!("{text:?}").into_bytes(), 1),
        guarantee: Guarantee::Confirmed { mandatory: false },
    }
}

fn text(delivery: &Delivery) -> String {
    serde_json::from_slice(&delivery.message.body).unwrap()
}

async fn send(broker: &SharedBroker, to: Broadcast, routing_key: &str, text: &str) {
    broker.declare_broadcast(to).await.unwrap();
    broker.publish(broadcast(to, routing_key, text)).await.unwrap();
}

async fn requests(broker: &SharedBroker, node: &str) -> Box<dyn Consumer> {
    broker.subscribe(&Subscription::ControlRequests { node: node.into() }).await.unwrap()
}

async fn events(broker: &SharedBroker, binding: &str) -> Box<dyn Consumer> {
    let id = uuid::Uuid::new_v4().to_string();
    broker.subscribe(&Subscription::Events { id, binding: binding.into() }).await.unwrap()
}

async fn assert_silent(consumer: &mut Box<dyn Consumer>) {
    let got = tokio::time::timeout(A_WHILE, consumer.next()).await;
    assert!(got.is_err(), "{got:?}");
}

pub async fn a_control_request_reaches_every_worker(fixture: &impl Fixture) {
    let (one, two, client) = (fixture.connect().await, fixture.connect().await, fixture.connect().await);
    let (mut first, mut second) = (requests(&one, "a@h").await, requests(&two, "b@h").await);
    for number in ["1", "2"] {
        send(&client, Broadcast::ControlRequests, "", number).await;
    }
    for consumer in [&mut first, &mut second] {
        for number in ["1", "2"] {
            let got = next(consumer).await;
            assert_eq!((text(&got).as_str(), got.exchange.as_str()), (number, "celery.pidbox"));
        }
    }
}

pub async fn an_answer_reaches_the_client_that_asked(fixture: &impl Fixture) {
    let (worker, client) = (fixture.connect().await, fixture.connect().await);
    let replies = async |client_id: &str| {
        client.subscribe(&Subscription::ControlReplies { client: client_id.into() }).await.unwrap()
    };
    let (mut mine, mut others) = (replies("c1").await, replies("c2").await);
    send(&worker, Broadcast::ControlReplies, "c1", "for one").await;
    send(&worker, Broadcast::ControlReplies, "c2", "for two").await;
    assert_eq!(text(&next(&mut mine).await), "for one");
    assert_eq!(text(&next(&mut others).await), "for two");
    assert_silent(&mut mine).await;
}

pub async fn events_reach_listeners_with_a_matching_pattern(fixture: &impl Fixture) {
    let (worker, client) = (fixture.connect().await, fixture.connect().await);
    let (mut all, mut workers) = (events(&client, "#").await, events(&client, "worker.#").await);
    for key in ["worker.online", "task.multi", "worker.offline"] {
        send(&worker, Broadcast::Events, key, key).await;
    }
    for key in ["worker.online", "task.multi", "worker.offline"] {
        let got = next(&mut all).await;
        assert_eq!((text(&got).as_str(), got.routing_key.as_str()), (key, key));
    }
    for key in ["worker.online", "worker.offline"] {
        assert_eq!(text(&next(&mut workers).await), key);
    }
}

pub async fn a_broadcast_without_listeners_is_no_error(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    for (to, key) in
        [(Broadcast::ControlRequests, ""), (Broadcast::ControlReplies, "gone"), (Broadcast::Events, "worker.online")]
    {
        send(&broker, to, key, "lost").await;
        let forgotten = Publish { guarantee: Guarantee::FireAndForget, ..broadcast(to, key, "lost") };
        broker.publish(forgotten).await.unwrap();
    }
}

pub async fn a_listener_that_is_gone_gets_nothing(fixture: &impl Fixture) {
    let (one, client) = (fixture.connect().await, fixture.connect().await);
    drop(requests(&one, "a@h").await);
    send(&client, Broadcast::ControlRequests, "", "too late").await;
    // The next worker of that name does not get the broadcasts that the previous one missed, whose end may take a moment.
    let mut again = requests(&one, "a@h").await;
    let wanted = async {
        loop {
            send(&client, Broadcast::ControlRequests, "", "now").await;
            if let Ok(Some(got)) = tokio::time::timeout(A_WHILE, again.next()).await
                && text(&got) == "now"
            {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, wanted).await.expect("nothing was delivered");
}

pub async fn a_subscription_listens_again_after_a_cut(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    let mut listening = requests(&broker, "a@h").await;
    fixture.cut().await;
    let heard = async {
        loop {
            // Broadcasts sent before it listens again are lost.
            let sent = async {
                broker.declare_broadcast(Broadcast::ControlRequests).await?;
                Ok::<_, Box<dyn std::error::Error>>(
                    broker.publish(broadcast(Broadcast::ControlRequests, "", "again")).await?,
                )
            };
            if let Err(error) = sent.await {
                tracing::info!(%error, "not sent");
            }
            if let Ok(got) = tokio::time::timeout(Duration::from_millis(100), listening.next()).await {
                return got.expect("the subscription ended");
            }
        }
    };
    assert_eq!(text(&tokio::time::timeout(SOON, heard).await.expect("nothing was delivered")), "again");
}
