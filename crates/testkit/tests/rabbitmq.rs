//! The private brokers behave as the tests expect.

use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use testkit::servers::{PrivateRabbitMq, RabbitMq};

/// Speaks just enough AMQP 0-9-1 to open a connection, or reports that the credentials were refused.
fn connect(url: &str) -> Option<TcpStream> {
    let (credentials, rest) = url.strip_prefix("amqp://")?.split_once('@')?;
    let (user, password) = credentials.split_once(':')?;
    let (address, vhost) = rest.split_once('/')?;
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    stream.write_all(b"AMQP\0\0\x09\x01").ok()?;
    read_method(&mut stream, (10, 10))?;

    let mut start_ok = vec![0, 0, 0, 0];
    short(&mut start_ok, "PLAIN");
    let response = format!("\0{user}\0{password}");
    start_ok.extend(u32::try_from(response.len()).ok()?.to_be_bytes());
    start_ok.extend(response.as_bytes());
    short(&mut start_ok, "en_US");
    write_method(&mut stream, (10, 11), &start_ok)?;
    read_method(&mut stream, (10, 30))?;
    write_method(&mut stream, (10, 31), &[0, 100, 0, 2, 0, 0, 0, 0])?;

    let mut open = Vec::new();
    short(&mut open, vhost);
    short(&mut open, "");
    open.push(0);
    write_method(&mut stream, (10, 40), &open)?;
    read_method(&mut stream, (10, 41))?;
    Some(stream)
}

fn short(into: &mut Vec<u8>, text: &str) {
    into.extend(u8::try_from(text.len()));
    into.extend(text.as_bytes());
}

fn write_method(stream: &mut TcpStream, (class, method): (u16, u16), arguments: &[u8]) -> Option<()> {
    let mut frame = vec![1, 0, 0];
    frame.extend(u32::try_from(arguments.len() + 4).ok()?.to_be_bytes());
    frame.extend(class.to_be_bytes());
    frame.extend(method.to_be_bytes());
    frame.extend(arguments);
    frame.push(0xce);
    stream.write_all(&frame).ok()
}

/// `None` if the next frame is another method, or none comes.
fn read_method(stream: &mut TcpStream, expected: (u16, u16)) -> Option<()> {
    let mut head = [0; 7];
    stream.read_exact(&mut head).ok()?;
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
    let mut payload = vec![0; usize::try_from(size).ok()? + 1];
    stream.read_exact(&mut payload).ok()?;
    let method = (u16::from_be_bytes([payload[0], payload[1]]), u16::from_be_bytes([payload[2], payload[3]]));
    (method == expected).then_some(())
}

#[test]
fn a_virtual_host_belongs_to_one_test_and_goes_with_it() {
    let broker = RabbitMq::shared();
    let vhost = broker.vhost();
    let other = broker.vhost();
    assert_ne!(vhost.name, other.name);
    assert!(connect(&vhost.amqp_url).is_some());

    let foreign = vhost.amqp_url.replace(&vhost.name, &other.name);
    assert!(connect(&foreign).is_none(), "the user of one virtual host got into another");

    let url = vhost.amqp_url.clone();
    drop(vhost);
    assert!(connect(&url).is_none(), "the virtual host outlived its guard");
}

#[test]
fn connections_are_closed_from_the_other_side() {
    let vhost = RabbitMq::shared().vhost();
    let mut first = connect(&vhost.amqp_url).unwrap();
    let second_url = vhost.user("^$", "^$", "^$");
    let mut second = connect(&second_url).unwrap();
    // The broker lists a connection some time after it has accepted it.
    let until = Instant::now() + Duration::from_secs(60);
    while vhost.connections().len() < 2 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }

    assert_eq!(vhost.close_connections(), 2);
    for stream in [&mut first, &mut second] {
        // connection.close, with the administrator's reason, and not a broken line.
        assert_eq!(read_method(stream, (10, 50)), Some(()));
    }
}

#[test]
fn queues_are_seen_through_the_management_api() {
    let vhost = RabbitMq::shared().vhost();
    assert_eq!(vhost.queue("some queue"), None);
    let path = format!("/api/queues/{}/some%20queue", vhost.name);
    vhost.management("PUT", &path, Some(&json!({"durable": true})));
    assert_eq!(vhost.queue("some queue").unwrap()["durable"], true);
}

#[test]
fn a_private_broker_keeps_its_address_and_data_over_a_restart_and_a_kill() {
    let mut broker = PrivateRabbitMq::start();
    let vhost = broker.vhost();
    let path = format!("/api/queues/{}/kept", vhost.name);
    vhost.management("PUT", &path, Some(&json!({"durable": true})));

    broker.restart();
    assert!(connect(&vhost.amqp_url).is_some());

    broker.kill();
    assert!(!broker.is_up());
    assert!(connect(&vhost.amqp_url).is_none());
    broker.start_again();
    assert!(connect(&vhost.amqp_url).is_some());
    assert_eq!(vhost.queue("kept").unwrap()["durable"], true);
}
