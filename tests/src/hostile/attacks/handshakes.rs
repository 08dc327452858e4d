//! Handshakes that are wrong, that never end, and very many of them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use quinn::Endpoint;
use tokio::task::JoinSet;

use crate::hostile::attack::Field;
use crate::hostile::identity::Identity;
use crate::hostile::link::{self, Link};
use crate::hostile::tls::{self, Manner};

/// Handshakes of strangers at a time.
const AT_A_TIME: usize = 64;
/// Addresses that strangers come from. Each may begin some handshakes a second.
const ADDRESSES: u8 = 16;
/// Packets of a handshake that are recorded: the first flight of a client with a post-quantum key.
const FLIGHT: usize = 2;
/// Different handshakes that are recorded, and sent from many ports.
const RECORDED: usize = 64;

/// Connections that a member begins at least, however long a busy gateway takes: several of one start and of another, at
/// each of a pair.
const CONNECTIONS_LEAST: u64 = 16;
/// By then a gateway has ended the connections of a member that it does not keep.
const SETTLED: Duration = Duration::from_secs(10);

/// No key, somebody's key and a signature of garbage, another key exchange, another protocol.
pub(super) async fn wrong(field: &mut Field) {
    let manners = [Manner::NoKey, Manner::WrongSignature, Manner::WrongGroup, Manner::WrongProtocol];
    for (number, manner) in manners.iter().cycle().copied().take(field.orders.count as usize).enumerate() {
        // Each once, however long a busy gateway takes.
        if number >= manners.len() && !field.goes_on() {
            return;
        }
        let to = field.target();
        field.tally.tried(1, 0);
        match link::handshake(&field.endpoint, to, field.identity(), manner).await {
            Err(why) => field.tally.reason(&format!("{manner:?}: {why}")),
            Ok(connection) => {
                // The gateway looks at the client's key when the client is done already.
                let ended = tokio::time::timeout(Duration::from_secs(2), connection.closed()).await;
                let why = ended.map_or_else(|_| "let in".into(), |why| link::words(&why));
                field.tally.reason(&format!("{manner:?}: {why}"));
            }
        }
    }
}

/// Keys that nobody let in, a new one each time, from several addresses.
pub(super) async fn strangers(field: &mut Field) {
    let endpoints: Vec<Endpoint> = (0..ADDRESSES).map(|n| link::endpoint(100 + n)).collect();
    let mut running = JoinSet::new();
    let mut begun = 0;
    loop {
        while running.len() < AT_A_TIME && begun < field.orders.count && field.goes_on() {
            let endpoint = endpoints[begun as usize % endpoints.len()].clone();
            let identity = field.identity().stranger(field.orders.seed << 32 | begun);
            let to = field.target();
            begun += 1;
            running.spawn(one_stranger(endpoint, to, identity));
        }
        match running.join_next().await {
            Some(why) => field.tally.reason(&why.expect("it does not panic")),
            None => break,
        }
    }
    field.tally.tried(begun, 0);
    field.tally.say("attempts", begun);
}

async fn one_stranger(endpoint: Endpoint, to: SocketAddr, identity: Identity) -> String {
    match Link::open(&endpoint, to, &identity, true).await {
        Ok(_) => "let in".into(),
        Err(why) => why,
    }
}

/// One member, many connections: each is a right one, now of one start of it and now of another.
pub(super) async fn many(field: &mut Field) {
    let (mut links, mut begun) = (Vec::new(), 0_u64);
    let same = field.hello();
    while (field.goes_on() || begun < CONNECTIONS_LEAST) && begun < field.orders.count {
        begun += 1;
        let to = field.target();
        let hello = if begun % 8 < 6 { same.clone() } else { field.hello() };
        links.extend(field.enter_with(to, hello).await);
    }
    one_a_gateway(&links, field.orders.targets.len()).await;
    let open = links.iter().filter(|link| link.ended().is_none()).count();
    field.tally.say("open_at_the_end", open);
    for link in &links {
        field.leave(link);
    }
}

/// Waits until no more are open than there are gateways. A gateway that is busy takes its time to say which go.
async fn one_a_gateway(links: &[Link], gateways: usize) {
    let ends = links.iter().map(|link| link.connection().clone());
    let mut open: JoinSet<_> = ends.map(|connection| async move { connection.closed().await }).collect();
    let settled = async { while open.len() > gateways && open.join_next().await.is_some() {} };
    // Who comes after this counts what is open still.
    let _ = tokio::time::timeout(SETTLED, settled).await;
}

/// First packets, recorded from right handshakes and sent from many addresses that never go on.
pub(super) async fn half_open(field: &mut Field) {
    let flights = record(field).await;
    field.tally.say("recorded", flights.len());
    let sockets: Vec<UdpSocket> = (0..RECORDED as u8)
        .map(|n| {
            UdpSocket::bind(SocketAddr::from(([127, 0, 1, n + 1], 0)))
                .expect("a socket on the loopback interface")
        })
        .collect();
    let mut sent = 0;
    while field.goes_on() && sent < field.orders.count {
        let to = field.target();
        // Another socket each time: the same first packets are another handshake from another address.
        let turn = sent as usize;
        let (socket, flight) =
            (&sockets[turn % sockets.len()], &flights[(turn / sockets.len()) % flights.len()]);
        for packet in flight {
            // A full buffer loses it, as a network would.
            let _ = socket.send_to(packet, to);
            field.tally.tried(1, packet.len() as u64);
        }
        sent += 1;
        if sent % 16 == 0 {
            tokio::task::yield_now().await;
        }
    }
    // Whatever answers there were: mostly the address is asked to prove itself.
    let (mut answers, mut bytes, mut buffer) = (0_u64, 0_u64, [0; 2_048]);
    for socket in &sockets {
        socket.set_nonblocking(true).expect("a socket");
        while let Ok((length, _)) = socket.recv_from(&mut buffer) {
            answers += 1;
            bytes += length as u64;
        }
    }
    field.tally.say("handshakes", sent);
    field.tally.say("answers", answers);
    field.tally.say("answer_bytes", bytes);
}

/// The first flights of handshakes with a socket that never answers.
async fn record(field: &Field) -> Vec<Vec<Vec<u8>>> {
    let tap = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket on the loopback interface");
    let at = tap.local_addr().expect("it is bound");
    let begin = |_| {
        let config = tls::client(&field.identity().signer, Manner::Right);
        field.endpoint.connect_with(config, at, "gateway").expect("a handshake can begin")
    };
    let connecting: Vec<quinn::Connecting> = (0..RECORDED).map(begin).collect();
    let mut flights: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    let mut buffer = [0; 2_048];
    let listen = async {
        while flights.len() < RECORDED || flights.values().any(|flight| flight.len() < FLIGHT) {
            let Ok((length, _)) = tap.recv_from(&mut buffer).await else { return };
            // A long header: its destination's connection id names the handshake (RFC 9000, section 17.2).
            let name = buffer[6..6 + usize::from(buffer[5])].to_vec();
            let flight = flights.entry(name).or_default();
            if flight.len() < FLIGHT {
                flight.push(buffer[..length].to_vec());
            }
        }
    };
    // Some may be lost; those that came will do.
    let _ = tokio::time::timeout(Duration::from_secs(2), listen).await;
    drop(connecting);
    flights.into_values().collect()
}
