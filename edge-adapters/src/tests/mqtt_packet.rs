//! Packets, against another reading of the standard: what rumqttc writes is read here, and what is written here is read
//! by rumqttc; and bytes that are no packets never make the reader fail, or take more than the packet has.

use bytes::BytesMut;
use rumqttc::mqttbytes::QoS as Qos3;
use rumqttc::mqttbytes::v4 as theirs3;
use rumqttc::v5::mqttbytes::QoS as Qos5;
use rumqttc::v5::mqttbytes::v5 as theirs5;

use super::support::cases;
use crate::backoff::SplitMix;
use crate::mqtt::packet::decode::decode;
use crate::mqtt::packet::encode::{self, Publication, Will};
use crate::mqtt::packet::reason::{reason, refusal};
use crate::mqtt::packet::{Answer, ConnAck, Incoming, Malformed, Message, Outcome, Service, Version};
use crate::mqtt::topic::Filter;

const ROOM: usize = 1 << 20;
const VERSIONS: [Version; 2] = [Version::V3, Version::V5];
const SERVICES: [Service; 3] = [Service::AtMostOnce, Service::AtLeastOnce, Service::ExactlyOnce];

fn below(random: &mut SplitMix, end: u64) -> usize {
    (random.next() % end) as usize
}

fn pick<T: Copy>(random: &mut SplitMix, from: &[T]) -> T {
    from[below(random, from.len() as u64)]
}

fn text(random: &mut SplitMix, most: u64) -> String {
    let letters = ['a', 'Z', '0', '/', ' ', 'é', '温', '$', '{', '"', '\\'];
    (0..=below(random, most)).map(|_| pick(random, &letters)).collect()
}

fn blob(random: &mut SplitMix) -> Vec<u8> {
    // Around the lengths at which the length of the packet takes a byte more.
    let length = pick(random, &[0, 1, 7, 90, 100, 127, 128, 300, 16_200, 16_383, 16_500]);
    let length = length + below(random, 20);
    (0..length).map(|_| random.next() as u8).collect()
}

fn id(random: &mut SplitMix) -> u16 {
    1 + below(random, u64::from(u16::MAX)) as u16
}

fn maybe<T>(random: &mut SplitMix, make: impl FnOnce(&mut SplitMix) -> T) -> Option<T> {
    (random.next() & 1 == 1).then(|| make(random))
}

fn users(random: &mut SplitMix) -> Vec<(String, String)> {
    (0..below(random, 3)).map(|_| (text(random, 9), text(random, 9))).collect()
}

const QOS3: [Qos3; 3] = [Qos3::AtMostOnce, Qos3::AtLeastOnce, Qos3::ExactlyOnce];
const QOS5: [Qos5; 3] = [Qos5::AtMostOnce, Qos5::AtLeastOnce, Qos5::ExactlyOnce];

/// A packet as a broker of 3.1.1 sends it, and what it is.
fn broker3(random: &mut SplitMix) -> (theirs3::Packet, Incoming) {
    let packet = id(random);
    let answer = |which| Incoming::Answer { which, packet, outcome: Outcome::default() };
    match below(random, 8) {
        0 => {
            let (resumed, code) = (random.next() & 1 == 1, below(random, 6) as u8);
            let codes = [
                theirs3::ConnectReturnCode::Success,
                theirs3::ConnectReturnCode::RefusedProtocolVersion,
                theirs3::ConnectReturnCode::BadClientId,
                theirs3::ConnectReturnCode::ServiceUnavailable,
                theirs3::ConnectReturnCode::BadUserNamePassword,
                theirs3::ConnectReturnCode::NotAuthorized,
            ];
            let theirs = theirs3::ConnAck::new(codes[usize::from(code)], resumed);
            let outcome = Outcome { code, text: String::new() };
            (
                theirs3::Packet::ConnAck(theirs),
                Incoming::ConnAck(ConnAck { resumed, outcome, ..ConnAck::default() }),
            )
        }
        1 => (theirs3::Packet::PubAck(theirs3::PubAck::new(packet)), answer(Answer::PubAck)),
        2 => (theirs3::Packet::PubRec(theirs3::PubRec::new(packet)), answer(Answer::PubRec)),
        3 => (theirs3::Packet::PubRel(theirs3::PubRel::new(packet)), answer(Answer::PubRel)),
        4 => (theirs3::Packet::PubComp(theirs3::PubComp::new(packet)), answer(Answer::PubComp)),
        5 => {
            let codes: Vec<u8> = (0..=below(random, 70)).map(|_| pick(random, &[0, 1, 2, 128])).collect();
            let theirs = codes.iter().map(|code| (*code).try_into().expect("known")).collect();
            (
                theirs3::Packet::SubAck(theirs3::SubAck::new(packet, theirs)),
                Incoming::SubAck { packet, codes },
            )
        }
        6 => (theirs3::Packet::PingResp, Incoming::PingResp),
        _ => {
            let (level, topic, payload) = (below(random, 3), text(random, 40), blob(random));
            let mut theirs = theirs3::Publish::new(topic.clone(), QOS3[level], payload.clone());
            let packet = if level == 0 { 0 } else { packet };
            (theirs.pkid, theirs.retain) = (packet, random.next() & 1 == 1);
            theirs.dup = level > 0 && random.next() & 1 == 1;
            let ours = Message {
                topic,
                payload,
                service: SERVICES[level],
                packet,
                again: theirs.dup,
                retained: theirs.retain,
            };
            (theirs3::Packet::Publish(theirs), Incoming::Message(ours))
        }
    }
}

fn properties_of_connack(random: &mut SplitMix) -> theirs5::ConnAckProperties {
    theirs5::ConnAckProperties {
        session_expiry_interval: maybe(random, |r| r.next() as u32),
        receive_max: maybe(random, id),
        max_qos: maybe(random, |r| (r.next() & 1) as u8),
        retain_available: maybe(random, |r| (r.next() & 1) as u8),
        max_packet_size: maybe(random, |r| r.next() as u32),
        assigned_client_identifier: maybe(random, |r| text(r, 20)),
        topic_alias_max: maybe(random, id),
        reason_string: maybe(random, |r| text(r, 20)),
        user_properties: users(random),
        wildcard_subscription_available: maybe(random, |r| (r.next() & 1) as u8),
        subscription_identifiers_available: maybe(random, |r| (r.next() & 1) as u8),
        shared_subscription_available: maybe(random, |r| (r.next() & 1) as u8),
        server_keep_alive: maybe(random, id),
        response_information: maybe(random, |r| text(r, 9)),
        server_reference: maybe(random, |r| text(r, 9)),
        authentication_method: maybe(random, |r| text(r, 9)),
        authentication_data: maybe(random, |r| blob(r).into()),
    }
}

/// A packet as a broker of 5 sends it, and what it is.
fn broker5(random: &mut SplitMix) -> (theirs5::Packet, Incoming) {
    let packet = id(random);
    let said = text(random, 12);
    match below(random, 6) {
        0 => {
            use theirs5::ConnectReturnCode as Code;
            let (code, theirs) = pick(
                random,
                &[
                    (0, Code::Success),
                    (0x87, Code::NotAuthorized),
                    (0x8A, Code::Banned),
                    (0x9F, Code::ConnectionRateExceeded),
                ],
            );
            let resumed = random.next() & 1 == 1;
            let properties = properties_of_connack(random);
            let ours = ConnAck {
                resumed,
                outcome: Outcome { code, text: properties.reason_string.clone().unwrap_or_default() },
                keep_alive: properties.server_keep_alive,
                session_expiry: properties.session_expiry_interval,
                packet_bytes_max: properties.max_packet_size,
                retains: properties.retain_available.map(|byte| byte == 1),
                service_max: properties.max_qos,
            };
            let theirs =
                theirs5::ConnAck { session_present: resumed, code: theirs, properties: Some(properties) };
            (theirs5::Packet::ConnAck(theirs), Incoming::ConnAck(ours))
        }
        1 => {
            let (code, reason) = pick(
                random,
                &[
                    (0, theirs5::PubAckReason::Success),
                    (0x10, theirs5::PubAckReason::NoMatchingSubscribers),
                    (0x97, theirs5::PubAckReason::QuotaExceeded),
                ],
            );
            let properties = maybe(random, |r| theirs5::PubAckProperties {
                reason_string: Some(said.clone()),
                user_properties: users(r),
            });
            let text = if properties.is_some() { said } else { String::new() };
            let ours = Incoming::Answer { which: Answer::PubAck, packet, outcome: Outcome { code, text } };
            (theirs5::Packet::PubAck(theirs5::PubAck { pkid: packet, reason, properties }), ours)
        }
        2 => {
            let (code, reason) = pick(
                random,
                &[
                    (0, theirs5::PubRelReason::Success),
                    (0x92, theirs5::PubRelReason::PacketIdentifierNotFound),
                ],
            );
            let properties = maybe(random, |r| theirs5::PubRelProperties {
                reason_string: Some(said.clone()),
                user_properties: users(r),
            });
            let text = if properties.is_some() { said } else { String::new() };
            let ours = Incoming::Answer { which: Answer::PubRel, packet, outcome: Outcome { code, text } };
            (theirs5::Packet::PubRel(theirs5::PubRel { pkid: packet, reason, properties }), ours)
        }
        3 => {
            use theirs5::SubscribeReasonCode as Code;
            let both: Vec<(u8, Code)> = (0..=below(random, 70))
                .map(|_| {
                    pick(
                        random,
                        &[
                            (0, Code::Success(Qos5::AtMostOnce)),
                            (2, Code::Success(Qos5::ExactlyOnce)),
                            (0x87, Code::NotAuthorized),
                            (0xA2, Code::WildcardSubscriptionsNotSupported),
                        ],
                    )
                })
                .collect();
            let properties = maybe(random, |r| theirs5::SubAckProperties {
                reason_string: Some(said),
                user_properties: users(r),
            });
            let (codes, return_codes) = both.into_iter().unzip();
            let theirs = theirs5::SubAck { pkid: packet, return_codes, properties };
            (theirs5::Packet::SubAck(theirs), Incoming::SubAck { packet, codes })
        }
        4 => {
            let theirs = theirs5::Disconnect {
                reason_code: theirs5::DisconnectReasonCode::SessionTakenOver,
                properties: Some(theirs5::DisconnectProperties {
                    session_expiry_interval: maybe(random, |r| r.next() as u32),
                    reason_string: Some(said.clone()),
                    user_properties: users(random),
                    server_reference: maybe(random, |r| text(r, 9)),
                }),
            };
            (theirs5::Packet::Disconnect(theirs), Incoming::Disconnect(Outcome { code: 0x8E, text: said }))
        }
        _ => {
            let (level, topic, payload) = (below(random, 3), text(random, 40), blob(random));
            let properties = maybe(random, |r| theirs5::PublishProperties {
                payload_format_indicator: maybe(r, |r| (r.next() & 1) as u8),
                message_expiry_interval: maybe(r, |r| r.next() as u32),
                topic_alias: None,
                response_topic: maybe(r, |r| text(r, 9)),
                correlation_data: maybe(r, |r| blob(r).into()),
                user_properties: users(r),
                subscription_identifiers: Vec::new(),
                content_type: maybe(r, |r| text(r, 9)),
            });
            let mut theirs = theirs5::Publish::new(topic.clone(), QOS5[level], payload.clone(), properties);
            let packet = if level == 0 { 0 } else { packet };
            (theirs.pkid, theirs.retain) = (packet, random.next() & 1 == 1);
            theirs.dup = level > 0 && random.next() & 1 == 1;
            let ours = Message {
                topic,
                payload,
                service: SERVICES[level],
                packet,
                again: theirs.dup,
                retained: theirs.retain,
            };
            (theirs5::Packet::Publish(theirs), Incoming::Message(ours))
        }
    }
}

/// Bytes of a broker, as rumqttc writes them, and what they are.
fn broker(version: Version, random: &mut SplitMix) -> (Vec<u8>, Incoming) {
    let mut bytes = BytesMut::new();
    let ours = if version == Version::V3 {
        let (theirs, ours) = broker3(random);
        theirs.write(&mut bytes, ROOM).expect("rumqttc writes it");
        ours
    } else {
        let (theirs, ours) = broker5(random);
        theirs.write(&mut bytes, None).expect("rumqttc writes it");
        ours
    };
    (bytes.to_vec(), ours)
}

#[test]
fn what_rumqttc_writes_as_a_broker_is_read_as_it_is_meant() {
    for seed in 0..cases() {
        let mut random = SplitMix(seed);
        let version = pick(&mut random, &VERSIONS);
        let (mut bytes, ours) = broker(version, &mut random);
        let whole = bytes.len();
        // What stands behind a packet is none of its business, and what is cut off makes it wait.
        bytes.extend([0xFF; 3]);
        assert_eq!(decode(version, ROOM, &bytes), Ok(Some((ours, whole))), "seed {seed} {version:?}");
        let cut = below(&mut random, whole as u64);
        assert_eq!(decode(version, ROOM, &bytes[..cut]), Ok(None), "seed {seed} {version:?} cut at {cut}");
        if whole > 4 {
            let short = decode(version, whole - 1, &bytes);
            assert_eq!(short, Err(Malformed::TooLong { bytes: whole }), "seed {seed}");
        }
    }
}

#[test]
fn no_bytes_make_the_reader_fail() {
    for seed in 0..cases() {
        let mut random = SplitMix(seed ^ 0x5eed);
        let version = pick(&mut random, &VERSIONS);
        let mut bytes = if seed % 4 == 0 { blob(&mut random) } else { broker(version, &mut random).0 };
        for _ in 0..below(&mut random, 6) {
            if bytes.is_empty() {
                break;
            }
            // Mostly near the start, where the meaning is.
            let end = if random.next().is_multiple_of(4) { bytes.len() } else { bytes.len().min(12) };
            let at = below(&mut random, end as u64);
            match random.next() % 4 {
                0 => bytes[at] = random.next() as u8,
                1 => bytes[at] ^= 1 << (random.next() % 8),
                2 => bytes.truncate(at),
                _ => bytes.insert(at, random.next() as u8),
            }
        }
        if let Ok(Some((incoming, taken))) = decode(version, 1 << 16, &bytes) {
            assert!((2..=bytes.len()).contains(&taken), "seed {seed}: {taken} of {}", bytes.len());
            if let Incoming::Message(message) = incoming {
                assert!(message.topic.len() + message.payload.len() < taken, "seed {seed}");
            }
        }
    }
}

#[test]
fn what_is_written_here_rumqttc_reads_as_it_is_meant() {
    for seed in 0..cases() {
        let mut random = SplitMix(seed ^ 0x0u64.wrapping_sub(1));
        let version = pick(&mut random, &VERSIONS);
        let mut bytes = Vec::new();
        let packet = id(&mut random);
        match below(&mut random, 5) {
            0 => connects(version, &mut random, seed),
            1 => {
                let expiry = maybe(&mut random, |r| r.next() as u32);
                let publication = Publication {
                    topic: text(&mut random, 60),
                    payload: blob(&mut random),
                    service: pick(&mut random, &SERVICES[..2]),
                    retain: random.next() & 1 == 1,
                    expiry,
                };
                encode::publish(version, packet, &publication, &mut bytes).expect("short");
                published(version, packet, &publication, &bytes, seed);
            }
            2 => {
                let filters: Vec<Filter> = (0..=below(&mut random, 64))
                    .map(|n| {
                        Filter::new(&format!("plant/{n}/+/{}", text(&mut random, 9).replace(['#', '+'], "")))
                            .expect("valid")
                    })
                    .collect();
                let service = pick(&mut random, &SERVICES);
                encode::subscribe(version, packet, &filters, service, &mut bytes).expect("short");
                subscribed(version, packet, &filters, service, &bytes, seed);
            }
            3 => {
                let which =
                    pick(&mut random, &[Answer::PubAck, Answer::PubRec, Answer::PubRel, Answer::PubComp]);
                encode::answer(which, packet, &mut bytes);
                // It is its own answer.
                let expected = Incoming::Answer { which, packet, outcome: Outcome::default() };
                assert_eq!(decode(version, ROOM, &bytes), Ok(Some((expected, 4))), "seed {seed}");
                answered(version, which, packet, &bytes);
            }
            _ => {
                encode::ping(&mut bytes);
                match version {
                    Version::V3 => assert_eq!(read3(&bytes), theirs3::Packet::PingReq),
                    Version::V5 => assert_eq!(read5(&bytes), theirs5::Packet::PingReq(theirs5::PingReq)),
                }
            }
        }
    }
}

fn read3(bytes: &[u8]) -> theirs3::Packet {
    let mut stream = BytesMut::from(bytes);
    let packet = theirs3::Packet::read(&mut stream, ROOM).expect("rumqttc reads it");
    assert!(stream.is_empty(), "nothing is left over");
    packet
}

fn read5(bytes: &[u8]) -> theirs5::Packet {
    let mut stream = BytesMut::from(bytes);
    let packet = theirs5::Packet::read(&mut stream, None).expect("rumqttc reads it");
    assert!(stream.is_empty(), "nothing is left over");
    packet
}

fn connects(version: Version, random: &mut SplitMix, seed: u64) {
    let will = maybe(random, |r| Will {
        topic: text(r, 30),
        payload: blob(r),
        service: pick(r, &SERVICES),
        retain: r.next() & 1 == 1,
    });
    // MQTT 3.1.1 allows no password without a user.
    let login = maybe(random, |r| (text(r, 20), maybe(r, |r| text(r, 20))));
    let client_id = text(random, 30);
    let ours = encode::Connect {
        client_id: &client_id,
        clean: random.next() & 1 == 1,
        keep_alive: random.next() as u16,
        will: will.as_ref(),
        user: login.as_ref().map(|(user, _)| user.as_str()),
        password: login.as_ref().and_then(|(_, password)| password.as_deref()).map(str::as_bytes),
        session_expiry: random.next() as u32,
        receive_maximum: id(random),
    };
    let mut bytes = Vec::new();
    encode::connect(version, &ours, &mut bytes).expect("short");
    let said = |login: Option<(String, String)>| {
        let expected = ours.user.map(|user| {
            (
                user.to_owned(),
                ours.password.map_or(String::new(), |p| String::from_utf8_lossy(p).into_owned()),
            )
        });
        assert_eq!(login, expected, "seed {seed}");
    };
    match version {
        Version::V3 => {
            let theirs3::Packet::Connect(theirs) = read3(&bytes) else { panic!("seed {seed}: no CONNECT") };
            assert_eq!(
                (theirs.client_id, theirs.clean_session, theirs.keep_alive),
                (client_id.clone(), ours.clean, ours.keep_alive)
            );
            said(theirs.login.map(|login| (login.username, login.password)));
            let theirs = theirs.last_will.map(|w| (w.topic, w.message.to_vec(), w.qos as u8, w.retain));
            assert_eq!(
                theirs,
                ours.will.map(|w| (w.topic.clone(), w.payload.clone(), w.service as u8, w.retain))
            );
        }
        Version::V5 => {
            let theirs5::Packet::Connect(theirs, theirs_will, login) = read5(&bytes) else {
                panic!("seed {seed}: no CONNECT")
            };
            assert_eq!(
                (theirs.client_id, theirs.clean_start, theirs.keep_alive),
                (client_id.clone(), ours.clean, ours.keep_alive)
            );
            let properties = theirs.properties.expect("there are some");
            assert_eq!(properties.session_expiry_interval, Some(ours.session_expiry));
            assert_eq!(properties.receive_maximum, Some(ours.receive_maximum));
            // None is allowed: what is not said means zero (section 3.1.2.11.5).
            assert_eq!(properties.topic_alias_max, None);
            said(login.map(|login| (login.username, login.password)));
            let theirs = theirs_will.map(|w| (w.topic.to_vec(), w.message.to_vec(), w.qos as u8, w.retain));
            let will = ours.will;
            assert_eq!(
                theirs,
                will.map(|w| (w.topic.clone().into(), w.payload.clone(), w.service as u8, w.retain))
            );
        }
    }
}

fn published(version: Version, packet: u16, ours: &Publication, bytes: &[u8], seed: u64) {
    let packet = if ours.service == Service::AtMostOnce { 0 } else { packet };
    let expected =
        (ours.topic.clone().into_bytes(), ours.payload.clone(), ours.service as u8, ours.retain, packet);
    let (theirs, expiry) = match version {
        Version::V3 => {
            let theirs3::Packet::Publish(p) = read3(bytes) else { panic!("seed {seed}: no PUBLISH") };
            ((p.topic.into_bytes(), p.payload.to_vec(), p.qos as u8, p.retain, p.pkid), None)
        }
        Version::V5 => {
            let theirs5::Packet::Publish(p) = read5(bytes) else { panic!("seed {seed}: no PUBLISH") };
            let expiry = p.properties.and_then(|properties| properties.message_expiry_interval);
            ((p.topic.to_vec(), p.payload.to_vec(), p.qos as u8, p.retain, p.pkid), expiry)
        }
    };
    assert_eq!(theirs, expected, "seed {seed}");
    assert_eq!(expiry, ours.expiry.filter(|_| version == Version::V5), "seed {seed}");
}

fn subscribed(version: Version, packet: u16, filters: &[Filter], service: Service, bytes: &[u8], seed: u64) {
    let expected: Vec<_> = filters.iter().map(|f| (f.as_str().to_owned(), service as u8)).collect();
    let (id, theirs): (u16, Vec<_>) = match version {
        Version::V3 => {
            let theirs3::Packet::Subscribe(s) = read3(bytes) else { panic!("seed {seed}: no SUBSCRIBE") };
            (s.pkid, s.filters.into_iter().map(|f| (f.path, f.qos as u8)).collect())
        }
        Version::V5 => {
            let theirs5::Packet::Subscribe(s) = read5(bytes) else { panic!("seed {seed}: no SUBSCRIBE") };
            assert!(s.filters.iter().all(|f| !f.nolocal && !f.preserve_retain));
            (s.pkid, s.filters.into_iter().map(|f| (f.path, f.qos as u8)).collect())
        }
    };
    assert_eq!((id, theirs), (packet, expected), "seed {seed}");
}

fn answered(version: Version, which: Answer, packet: u16, bytes: &[u8]) {
    let theirs = match version {
        Version::V3 => match read3(bytes) {
            theirs3::Packet::PubAck(p) => (Answer::PubAck, p.pkid),
            theirs3::Packet::PubRec(p) => (Answer::PubRec, p.pkid),
            theirs3::Packet::PubRel(p) => (Answer::PubRel, p.pkid),
            theirs3::Packet::PubComp(p) => (Answer::PubComp, p.pkid),
            other => panic!("{other:?}"),
        },
        Version::V5 => match read5(bytes) {
            theirs5::Packet::PubAck(p) => (Answer::PubAck, p.pkid),
            theirs5::Packet::PubRec(p) => (Answer::PubRec, p.pkid),
            theirs5::Packet::PubRel(p) => (Answer::PubRel, p.pkid),
            theirs5::Packet::PubComp(p) => (Answer::PubComp, p.pkid),
            other => panic!("{other:?}"),
        },
    };
    assert_eq!(theirs, (which, packet));
}

#[test]
fn bytes_that_break_the_standard_are_named() {
    for (version, bytes, what) in [
        (Version::V3, &[0x20, 2, 2, 0][..], "flags"),
        (Version::V3, &[0x21, 2, 0, 0], "flags"),
        (Version::V3, &[0x36, 5, 0, 1, b'a', 0, 1], "quality of service 3"),
        (Version::V3, &[0x30, 3, 0, 1, b'#'], "+ or #"),
        (Version::V3, &[0x30, 2, 0, 0], "an empty topic"),
        (Version::V3, &[0x30, 3, 0, 1, 0], "U+0000"),
        (Version::V3, &[0x30, 4, 0, 2, 0xC3, 0x28], "UTF-8"),
        (Version::V3, &[0x30, 3, 0, 2, b'a'], "too early"),
        (Version::V3, &[0x32, 5, 0, 1, b'a', 0, 0], "packet id 0"),
        (Version::V3, &[0x40, 3, 0, 1, 0], "after its end"),
        (Version::V3, &[0x90, 2, 0, 1], "no codes"),
        (Version::V3, &[0x30, 0x80, 0x80, 0x80, 0x80, 1], "its length has no end"),
        (Version::V3, &[0xE0, 0], "DISCONNECT, which a broker does not send"),
        (Version::V3, &[0xC0, 0], "PINGREQ, which a broker does not send"),
        (Version::V5, &[0xF0, 0], "AUTH, which a broker does not send"),
        (Version::V5, &[0x30, 7, 0, 1, b'a', 3, 0x23, 0, 1], "alias"),
        (Version::V5, &[0x30, 5, 0, 1, b'a', 1, 0x7E], "a property that MQTT 5 does not know"),
        (Version::V5, &[0x30, 6, 0, 1, b'a', 2, 0x02, 0], "too early"),
    ] {
        let why = decode(version, ROOM, bytes).expect_err(what).to_string();
        assert!(why.contains(what), "{bytes:?}: {why}");
    }
    // Brokers set the bit of a repetition where it means nothing.
    let lenient = decode(Version::V3, ROOM, &[0x38, 3, 0, 1, b'a']);
    assert!(matches!(lenient, Ok(Some((Incoming::Message(Message { again: false, .. }), 5)))), "{lenient:?}");
    // Reason and properties may be left out.
    let closed = decode(Version::V5, ROOM, &[0xE0, 0]);
    assert_eq!(closed, Ok(Some((Incoming::Disconnect(Outcome::default()), 2))));
}

#[test]
fn every_refusal_has_words_and_what_the_broker_says_stays_on_one_line() {
    for code in 1..=5 {
        let words = refusal(Version::V3, &Outcome { code, text: String::new() });
        assert!(words.starts_with("the broker refuses: ") && !words.contains("does not know"), "{words}");
    }
    for code in 0x81..=0xA2 {
        assert!(!reason(code).contains("does not know") || code == 0x92, "{code:#04x} {}", reason(code));
    }
    let loud = Outcome { code: 0x87, text: format!("a\nb\u{1b}[2J{}", "x".repeat(60_000)) };
    let words = refusal(Version::V5, &loud);
    assert!(words.len() < 500 && !words.contains(['\n', '\u{1b}']), "{words}");
}
