//! Rules for brokers.

use std::{collections::BTreeSet, time::Duration};

use celery_protocol::{FieldTable, FieldValue, Message, Properties};
use celery_runtime::broker::{AckError, Guarantee, Publish, PublishError, SharedBroker, TaskQueue};

use super::{A_WHILE, Fixture, SOON, assert_empty, id_of, next, to};

pub async fn a_task_arrives_with_everything_it_had(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    let mut consumer = broker.consume(&"q".into(), 1).await.unwrap();
    broker.declare_task_queue(&"q".into()).await.unwrap();
    let mut inner = FieldTable::new();
    inner.insert("nothing", FieldValue::Void);
    let mut headers = FieldTable::new();
    headers.insert("task", "t");
    headers.insert("count", 7);
    headers.insert("large", 1_i64 << 40);
    headers.insert("half", 0.5);
    headers.insert("yes", true);
    headers.insert("list", FieldValue::Array(vec![FieldValue::Void, "ü".into()]));
    headers.insert("table", inner);
    let sent = Message {
        properties: Properties {
            content_type: Some("application/json".into()),
            content_encoding: Some("utf-8".into()),
            delivery_mode: Some(2),
            priority: Some(3),
            correlation_id: Some("id-1".into()),
            reply_to: Some("somewhere".into()),
            expiration: Some("60000".into()),
            ..Properties::default()
        },
        headers,
        body: vec![0, 255, 10, 0],
    };
    broker.publish(Publish::task("q", sent.clone())).await.unwrap();
    let got = next(&mut consumer).await;
    assert_eq!(got.message.properties, sent.properties);
    assert_eq!(got.message.body, sent.body);
    for (name, value) in sent.headers.iter() {
        assert_eq!(got.message.headers.get(name), Some(value), "{name}");
    }
    assert_eq!((got.exchange.as_str(), got.routing_key.as_str(), got.redelivered), ("", "q", false));
    got.ack().await.unwrap();
}

pub async fn a_task_for_a_queue_that_does_not_exist_is_an_error(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    let error = broker.publish(to("nowhere", "1")).await.unwrap_err();
    assert_eq!(error, PublishError::Unroutable { exchange: String::new(), routing_key: "nowhere".into() });
    let error = broker.publish(Publish { exchange: "no.such".into(), ..to("nowhere", "2") }).await.unwrap_err();
    assert_eq!(error, PublishError::Unroutable { exchange: "no.such".into(), routing_key: "nowhere".into() });
    // The publisher still works.
    broker.declare_task_queue(&"q".into()).await.unwrap();
    broker.publish(to("q", "3")).await.unwrap();
}

pub async fn a_reply_without_a_waiting_caller_is_no_error(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    broker.publish(Publish::reply("gone", super::task("t", "1", vec![]))).await.unwrap();
    let forgotten = Publish { guarantee: Guarantee::FireAndForget, ..to("gone", "2") };
    broker.publish(forgotten).await.unwrap();
}

pub async fn unacknowledged_messages_are_delivered_again(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    for id in ["1", "2", "3"] {
        broker.publish(to("q", id)).await.unwrap();
    }
    let mut first = broker.consume(&"q".into(), 10).await.unwrap();
    let one = next(&mut first).await;
    let two = next(&mut first).await;
    assert!(!one.redelivered && !two.redelivered);
    one.ack().await.unwrap();
    drop(first);
    let mut second = broker.consume(&"q".into(), 10).await.unwrap();
    let (again, three) = (next(&mut second).await, next(&mut second).await);
    assert_eq!((id_of(&again), again.redelivered), ("2".into(), true));
    assert_eq!(id_of(&three), "3");
    again.ack().await.unwrap();
    three.ack().await.unwrap();
    assert!(matches!(two.ack().await, Err(AckError::Stale { .. })));
    drop(second);
    assert_empty(&broker, "q").await;
}

pub async fn prefetch_bounds_unacknowledged_deliveries(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    for id in 0..5 {
        broker.publish(to("q", &id.to_string())).await.unwrap();
    }
    let mut consumer = broker.consume(&"q".into(), 2).await.unwrap();
    let one = next(&mut consumer).await;
    let _two = next(&mut consumer).await;
    assert!(tokio::time::timeout(A_WHILE, consumer.next()).await.is_err());
    one.ack().await.unwrap();
    assert_eq!(id_of(&next(&mut consumer).await), "2");
    assert!(tokio::time::timeout(A_WHILE, consumer.next()).await.is_err());
}

pub async fn a_cut_makes_old_deliveries_stale_and_brings_them_again(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    broker.publish(to("q", "1")).await.unwrap();
    let mut consumer = broker.consume(&"q".into(), 10).await.unwrap();
    let before = next(&mut consumer).await;
    fixture.cut().await;
    if !fixture.connections_hold_deliveries() {
        // As long as no other worker got the delivery it is still ours to settle, and is not delivered again.
        before.ack().await.unwrap();
        broker.publish(to("q", "2")).await.unwrap();
        let after = next(&mut consumer).await;
        assert_eq!((id_of(&after), after.redelivered), ("2".into(), false));
        assert!(after.generation > before.generation);
        after.ack().await.unwrap();
        drop(consumer);
        return assert_empty(&broker, "q").await;
    }
    // The consumer continues.
    let after = next(&mut consumer).await;
    assert_eq!((id_of(&after), after.redelivered), ("1".into(), true));
    assert!(after.generation > before.generation);
    let error = before.ack().await.unwrap_err();
    assert_eq!(error, AckError::Stale { generation: before.generation });
    // The stale one acknowledged nothing: the new delivery is still ours to settle.
    after.ack().await.unwrap();
    broker.publish(to("q", "2")).await.unwrap();
    next(&mut consumer).await.ack().await.unwrap();
    drop(consumer);
    assert_empty(&broker, "q").await;
}

pub async fn prefetch_holds_after_a_cut(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    for id in 0..5 {
        broker.publish(to("q", &id.to_string())).await.unwrap();
    }
    let mut consumer = broker.consume(&"q".into(), 2).await.unwrap();
    let before = (next(&mut consumer).await, next(&mut consumer).await);
    fixture.cut().await;
    if !fixture.connections_hold_deliveries() {
        assert!(tokio::time::timeout(A_WHILE, consumer.next()).await.is_err());
        before.0.ack().await.unwrap();
        assert_eq!(id_of(&next(&mut consumer).await), "2");
        assert!(tokio::time::timeout(A_WHILE, consumer.next()).await.is_err());
        return;
    }
    let after = (next(&mut consumer).await, next(&mut consumer).await);
    assert!(after.0.redelivered && after.1.redelivered);
    assert!(tokio::time::timeout(A_WHILE, consumer.next()).await.is_err());
    after.0.ack().await.unwrap();
    assert_eq!(id_of(&next(&mut consumer).await), "2");
}

pub async fn a_rejected_message_comes_back_only_if_asked(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    broker.publish(to("q", "1")).await.unwrap();
    let mut consumer = broker.consume(&"q".into(), 1).await.unwrap();
    next(&mut consumer).await.reject(true).await.unwrap();
    let again = next(&mut consumer).await;
    assert!(again.redelivered);
    again.reject(false).await.unwrap();
    drop(consumer);
    assert_empty(&broker, "q").await;
}

pub async fn an_expired_message_is_not_delivered(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    let mut message = super::task("t", "short", vec![]);
    message.properties.expiration = Some("1".into());
    broker.publish(Publish::task("q", message)).await.unwrap();
    let mut message = super::task("t", "long", vec![]);
    message.properties.expiration = Some("600000".into());
    broker.publish(Publish::task("q", message)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut consumer = broker.consume(&"q".into(), 1).await.unwrap();
    let mut got = next(&mut consumer).await;
    if !fixture.drops_the_expired() {
        assert_eq!(id_of(&got), "short");
        got.ack().await.unwrap();
        got = next(&mut consumer).await;
    }
    assert_eq!(id_of(&got), "long");
    let mut message = super::task("t", "bad", vec![]);
    message.properties.expiration = Some("soon".into());
    assert!(matches!(broker.publish(Publish::task("q", message)).await, Err(PublishError::Refused { .. })));
    got.ack().await.unwrap();
}

pub async fn a_cancelled_consumer_takes_nothing_more_and_may_still_acknowledge(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    broker.publish(to("q", "1")).await.unwrap();
    broker.publish(to("q", "2")).await.unwrap();
    let mut consumer = broker.consume(&"q".into(), 10).await.unwrap();
    let one = next(&mut consumer).await;
    consumer.cancel().await;
    assert!(consumer.next().await.is_none());
    one.ack().await.unwrap();
    drop(consumer);
    let mut other = broker.consume(&"q".into(), 10).await.unwrap();
    let two = next(&mut other).await;
    assert_eq!(id_of(&two), "2");
    two.ack().await.unwrap();
    drop(other);
    assert_empty(&broker, "q").await;
}

/// Tasks in queue `q`, numbered from 0.
async fn fill(broker: &SharedBroker, many: u16) {
    broker.declare_task_queue(&"q".into()).await.unwrap();
    for id in 0..many {
        broker.publish(to("q", &id.to_string())).await.unwrap();
    }
}

pub async fn prefetched_messages_of_a_cancelled_consumer_go_to_others(fixture: &impl Fixture) {
    // More than all buffers on the way hold, so that some wait in each of them.
    const MANY: u16 = 300;
    let broker = fixture.connect().await;
    fill(&broker, MANY).await;
    let mut waiting: BTreeSet<String> = (0..MANY).map(|id| id.to_string()).collect();
    let mut consumer = broker.consume(&"q".into(), MANY).await.unwrap();
    let kept = next(&mut consumer).await;
    waiting.remove(&id_of(&kept));
    consumer.cancel().await;
    let mut other = broker.consume(&"q".into(), 0).await.unwrap();
    while !waiting.is_empty() {
        let got = next(&mut other).await;
        assert!(waiting.remove(&id_of(&got)), "{} came twice", id_of(&got));
        got.ack().await.unwrap();
    }
    kept.ack().await.unwrap();
    drop((consumer, other));
    assert_empty(&broker, "q").await;
}

pub async fn an_open_delivery_is_not_acknowledged_with_its_neighbours(fixture: &impl Fixture) {
    const MANY: u16 = 200;
    let broker = fixture.connect().await;
    fill(&broker, MANY).await;
    let mut consumer = broker.consume(&"q".into(), MANY).await.unwrap();
    let (mut kept, mut expected, mut settling) = (Vec::new(), BTreeSet::new(), Vec::new());
    for at in 0..MANY {
        let got = next(&mut consumer).await;
        match at % 20 {
            // Never the first or the last, which are the ends of a run that could be acknowledged together.
            7 => {
                expected.insert(id_of(&got));
                kept.push(got);
            }
            _ => settling.push((got, at % 20)),
        }
    }
    // All in parallel, the requeued ones among them.
    let mut all = tokio::task::JoinSet::new();
    for (got, place) in settling {
        all.spawn(async move {
            if place == 13 {
                got.reject(true).await.unwrap();
                return Some(id_of(&got));
            }
            got.ack().await.unwrap();
            None
        });
    }
    expected.extend(all.join_all().await.into_iter().flatten());
    drop((kept, consumer));
    let mut other = broker.consume(&"q".into(), 0).await.unwrap();
    while !expected.is_empty() {
        let got = next(&mut other).await;
        assert!(expected.remove(&id_of(&got)), "{} was done, or came twice", id_of(&got));
        got.ack().await.unwrap();
    }
    drop(other);
    assert_empty(&broker, "q").await;
}

pub async fn a_queue_bound_to_a_further_exchange_says_where_a_task_came_from(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    let queue = TaskQueue::new("q").also_bound_to("admin");
    broker.declare_task_queue(&queue).await.unwrap();
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    for exchange in ["", "q", "admin"] {
        broker.publish(Publish { exchange: exchange.into(), ..to("q", "1") }).await.unwrap();
        let got = next(&mut consumer).await;
        assert_eq!((got.exchange.as_str(), got.routing_key.as_str()), (exchange, "q"));
        got.ack().await.unwrap();
    }
}

pub async fn a_delivery_is_settled_once(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    broker.publish(to("q", "1")).await.unwrap();
    let mut consumer = broker.consume(&"q".into(), 10).await.unwrap();
    let one = next(&mut consumer).await;
    one.ack().await.unwrap();
    assert_eq!(one.ack().await, Err(AckError::AlreadySettled));
    assert_eq!(one.reject(true).await, Err(AckError::AlreadySettled));
    // The channel still works.
    broker.publish(to("q", "2")).await.unwrap();
    next(&mut consumer).await.ack().await.unwrap();
}

pub async fn many_publishers_each_learn_their_own_outcome(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    let mut publishers = tokio::task::JoinSet::new();
    for number in 0..100 {
        let broker = broker.clone();
        publishers.spawn(async move {
            let queue = ["q", "nowhere"][number % 2];
            (number, broker.publish(to(queue, &number.to_string())).await)
        });
    }
    while let Some(outcome) = publishers.join_next().await {
        let (number, outcome) = outcome.unwrap();
        assert_eq!(outcome.is_ok(), number % 2 == 0, "{number}: {outcome:?}");
    }
    let mut consumer = broker.consume(&"q".into(), 0).await.unwrap();
    for _ in 0..50 {
        next(&mut consumer).await.ack().await.unwrap();
    }
}

pub async fn next_may_be_dropped_without_losing_a_delivery(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    let mut consumer = broker.consume(&"q".into(), 0).await.unwrap();
    let publisher = broker.clone();
    let publishing = tokio::spawn(async move {
        for id in 0..200 {
            publisher.publish(to("q", &id.to_string())).await.unwrap();
        }
    });
    let mut seen = Vec::new();
    while seen.len() < 200 {
        if let Ok(Some(delivery)) = tokio::time::timeout(Duration::from_micros(300), consumer.next()).await {
            seen.push(id_of(&delivery));
            delivery.ack().await.unwrap();
        }
    }
    publishing.await.unwrap();
    assert_eq!(seen, (0..200).map(|id| id.to_string()).collect::<Vec<_>>());
}

pub async fn a_closed_broker_says_so(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    let mut consumer = broker.consume(&"q".into(), 1).await.unwrap();
    broker.close().await;
    assert!(tokio::time::timeout(SOON, consumer.next()).await.unwrap().is_none());
    assert_eq!(broker.publish(to("q", "1")).await, Err(PublishError::Closed));
    assert!(broker.consume(&"q".into(), 1).await.is_err());
    assert!(!broker.connection_state().borrow().connected);
}
