use super::*;

fn issuer(n: u16) -> Issuer {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    bytes[31] = 1;
    Issuer(bytes)
}

fn at(n: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 4_000))
}

fn book(configured: &[&str], members: u16, now: Instant) -> Book {
    let table = Members::new(issuer(0));
    for n in 1..=members {
        table.add(issuer(n));
    }
    let configured = configured.iter().map(|&text| text.to_owned()).collect();
    Book::new(table, configured, vec![at(0)], &[7; 32], now)
}

#[test]
fn a_configured_peer_is_dialled_for_ever_ever_more_rarely_and_soon_again_after_a_good_link() {
    let start = Instant::now();
    let mut book = book(&["press7.example:4000"], 3, start);
    let (mut now, mut times) = (start, Vec::new());
    for _ in 0..400 {
        let due = book.due(&[], now);
        assert_eq!(due.len(), 1, "nothing else is to be dialled");
        assert!(book.due(&[], now).is_empty(), "it is under way");
        times.push(now);
        book.failed(Target::Configured(0), "no answer".into(), now);
        let next = book.next_due(now).expect("it is tried again");
        assert!(next - now >= BACK_OFF_LEAST && next - now <= BACK_OFF_LAST);
        assert!(book.due(&[], now).is_empty());
        now = next;
    }
    let pauses: Vec<Duration> = times.windows(2).map(|pair| pair[1].duration_since(pair[0])).collect();
    assert!(pauses[0] <= BACK_OFF_FIRST && pauses[1] <= 2 * BACK_OFF_FIRST);
    let mean = pauses[100..].iter().sum::<Duration>() / 299;
    assert!((25..35).contains(&mean.as_secs()), "half a minute in the mean, got {mean:?}");
    // It answers, holds, and goes.
    assert_eq!(book.due(&[], now).len(), 1);
    book.up(issuer(1), at(1), Some(Target::Configured(0)), now);
    let connected = [Connected { issuer: issuer(1), outgoing: true }];
    assert!(book.due(&connected, now).is_empty());
    book.down(issuer(1), PROVEN, "cut", now);
    assert!(book.next_due(now).expect("soon") - now <= BACK_OFF_FIRST);
    // One that does not hold counts as a failure.
    for _ in 0..5 {
        book.up(issuer(1), at(1), Some(Target::Configured(0)), now);
        book.down(issuer(1), Duration::from_millis(5), "sent away", now);
    }
    assert_eq!(book.status(&[], now)[0].failures, 6);
    assert_eq!(book.status(&[], now)[0].last.as_deref(), Some("sent away"));
}

#[test]
fn only_members_are_dialled_and_only_so_many_beside_the_configured_ones() {
    let now = Instant::now();
    let mut book = book(&["one.example:4000"], 30, now);
    let all: Vec<Address> = (0..60).map(|n| Address { issuer: issuer(n), at: at(n) }).collect();
    assert!(book.told(issuer(1), &all, now));
    assert!(!book.told(issuer(1), &all, now), "nothing new");
    let dials = book.due(&[Connected { issuer: issuer(5), outgoing: false }], now);
    let members: Vec<Issuer> = dials.iter().filter_map(|d| d.expect).collect();
    assert_eq!((dials.len(), members.len()), (WANTED_LEARNT + 1, WANTED_LEARNT));
    for member in &members {
        assert!((1..=30).any(|n| issuer(n) == *member && n != 5), "{member}");
    }
    // One comes up: no further one. It goes: another may.
    let Target::Member(first) = dials[1].target else { panic!("the first is the configured one") };
    book.up(first, at(1), Some(dials[1].target), now);
    assert!(book.due(&[Connected { issuer: first, outgoing: true }], now).is_empty());
    book.down(first, Duration::ZERO, "gone", now);
    assert_eq!(book.due(&[], now).len(), 1);
    // A newcomer was told of before it was a member.
    let late = issuer(55);
    assert!(book.known.contains_key(&late));
    book.members.add(late);
    for dial in dials.iter().skip(1) {
        book.failed(dial.target, "no".into(), now);
    }
    let mut seen = false;
    for n in 0..60 {
        for dial in book.due(&[], now + Duration::from_secs(n)) {
            seen |= dial.expect == Some(late);
            book.failed(dial.target, "no".into(), now + Duration::from_secs(n));
        }
    }
    assert!(seen, "a member that was told of earlier is dialled");
}

#[test]
fn who_was_sent_away_is_not_dialled_until_the_time_is_up() {
    let now = Instant::now();
    let mut book = book(&["one.example:4000"], 3, now);
    assert_eq!(book.due(&[], now).len(), 1);
    book.up(issuer(1), at(1), Some(Target::Configured(0)), now);
    book.members.put_off(&issuer(1), now, Duration::from_mins(5));
    book.down(issuer(1), PROVEN, "rules", now);
    assert!(book.due(&[], now + Duration::from_secs(299)).is_empty());
    assert_eq!(book.due(&[], now + Duration::from_secs(301)).len(), 1);
}

#[test]
fn what_leads_back_here_is_not_dialled_again() {
    let now = Instant::now();
    let mut book = book(&["here.example:4000"], 3, now);
    assert_eq!(book.due(&[], now).len(), 1);
    book.ourselves(Target::Configured(0), "one key".into());
    assert!(book.due(&[], now + Duration::from_secs(1_000)).is_empty());
    assert!(!book.told(issuer(1), &[Address { issuer: issuer(0), at: at(9) }], now), "our own id");
    assert!(!book.told(issuer(1), &[Address { issuer: issuer(2), at: at(0) }], now), "our own address");
}

#[test]
fn strangers_in_addresses_push_no_member_out_and_the_book_stays_bounded() {
    let now = Instant::now();
    let mut book = book(&[], 20, now);
    let members: Vec<Address> = (1..=20).map(|n| Address { issuer: issuer(n), at: at(n) }).collect();
    book.told(issuer(1), &members, now);
    for n in 100..5_000 {
        book.told(issuer(1), &[Address { issuer: issuer(n), at: at(n) }], now + Duration::from_secs(1));
    }
    assert_eq!(book.known.len(), KNOWN_MAX);
    assert!(members.iter().all(|m| book.known.contains_key(&m.issuer)));
    let told = book.to_tell();
    assert_eq!(told.len(), 21, "strangers are not passed on");
    assert_eq!(told[0], Address { issuer: issuer(0), at: at(0) });
    // One member has at most four addresses, the best first.
    for n in 200..300 {
        book.told(issuer(2), &[Address { issuer: issuer(3), at: at(n) }], now);
    }
    book.told(issuer(3), &[Address { issuer: issuer(3), at: at(999) }], now);
    book.up(issuer(3), at(777), None, now);
    let order = book.known[&issuer(3)].places.in_order();
    assert_eq!((order.len(), order[0], order[1]), (4, at(999), at(777)));
}
