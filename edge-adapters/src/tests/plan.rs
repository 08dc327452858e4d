//! The planner, against all ways to divide fields among requests.

use super::support::cases;
use crate::backoff::SplitMix;
use crate::modbus::Table;
use crate::modbus::plan::{Caps, Framing, Request, Span, plan, split};

fn below(random: &mut SplitMix, end: u64) -> u16 {
    (random.next() % end) as u16
}

fn some_fields(random: &mut SplitMix, most: u64, range: u64) -> Vec<Span> {
    let count = 1 + random.next() % most;
    (0..count)
        .map(|_| {
            let table = Table::ALL
                [random.next() as usize % if most > 10 { 4 } else { 1 } + usize::from(most <= 10) * 2];
            let count = if table.is_bits() { 1 } else { [1, 1, 2, 4, 7][random.next() as usize % 5] };
            Span { table, start: below(random, range), count }
        })
        .collect()
}

/// Any framing; the rest as devices usually have it.
fn caps(random: &mut SplitMix) -> Caps {
    let framing = [Framing::Tcp, Framing::Tls, Framing::Rtu][random.next() as usize % 3];
    Caps { registers: 125, bits: 2_000, gap: 0, each_alone: false, framing }
}

fn end(span: Span) -> u32 {
    u32::from(span.start) + u32::from(span.count)
}

/// Is this request allowed for these fields?
fn allowed(spans: &[Span], caps: Caps) -> Option<Span> {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable();
    let first = sorted[0];
    let mut reach = end(first);
    for span in &sorted {
        if span.table != first.table || u32::from(span.start) > reach + u32::from(caps.gap) {
            return None;
        }
        reach = reach.max(end(*span));
    }
    let count = reach - u32::from(first.start);
    let most = if first.table.is_bits() { caps.bits } else { caps.registers };
    (count <= u32::from(most)).then_some(Span { count: count as u16, ..first })
}

fn check(fields: &[Span], requests: &[Request], caps: Caps, case: &str) {
    let mut seen = vec![0; fields.len()];
    for request in requests {
        let spans: Vec<Span> = request.fields.iter().map(|index| fields[*index]).collect();
        assert_eq!(allowed(&spans, caps), Some(request.span), "{case}: {request:?} of {fields:?}");
        request.fields.iter().for_each(|index| seen[*index] += 1);
    }
    assert!(seen.iter().all(|times| *times == 1), "{case}: each field exactly once: {seen:?}");
}

fn bytes(requests: &[Request], framing: Framing) -> u64 {
    requests.iter().map(|request| request.span.wire_bytes(framing)).sum()
}

/// Least bytes over all ways to divide `fields` into groups.
fn brute_force(fields: &[Span], caps: Caps) -> u64 {
    fn go(rest: &[Span], groups: &mut Vec<Vec<Span>>, caps: Caps, best: &mut u64) {
        let Some((first, rest)) = rest.split_first() else {
            let total: Option<u64> =
                groups.iter().map(|group| Some(allowed(group, caps)?.wire_bytes(caps.framing))).sum();
            *best = total.map_or(*best, |total| total.min(*best));
            return;
        };
        for at in 0..groups.len() {
            groups[at].push(*first);
            go(rest, groups, caps, best);
            groups[at].pop();
        }
        groups.push(vec![*first]);
        go(rest, groups, caps, best);
        groups.pop();
    }
    let mut best = u64::MAX;
    go(fields, &mut Vec::new(), caps, &mut best);
    best
}

#[test]
fn plans_of_many_fields_cover_each_once_within_the_caps() {
    const SEED: u64 = 11;
    println!("seed: {SEED}");
    let mut random = SplitMix(SEED);
    // No decoder of anything from outside, and each of them plans up to 200 fields.
    for case in 0..cases() / 50 {
        let range = [20, 300, 65_529][random.next() as usize % 3];
        let fields = some_fields(&mut random, 200, range);
        let caps = Caps {
            registers: 7 + below(&mut random, 119),
            bits: 1 + below(&mut random, 2_000),
            gap: below(&mut random, 30),
            ..caps(&mut random)
        };
        let requests = plan(&fields, caps);
        check(&fields, &requests, caps, &format!("case {case}, {caps:?}"));
        assert!(
            bytes(&requests, caps.framing) <= fields.iter().map(|field| field.wire_bytes(caps.framing)).sum(),
            "case {case}"
        );
    }
}

#[test]
fn plans_take_no_more_bytes_than_the_best_of_all() {
    const SEED: u64 = 12;
    println!("seed: {SEED}");
    let mut random = SplitMix(SEED);
    // Each is held against all plans that there are, of which seven fields have hundreds.
    for case in 0..1_000 {
        let range = [12, 40, 120][random.next() as usize % 3];
        let fields = some_fields(&mut random, 7, range);
        let caps = Caps {
            registers: 7 + below(&mut random, 30),
            bits: 1 + below(&mut random, 40),
            gap: below(&mut random, 20),
            ..caps(&mut random)
        };
        let requests = plan(&fields, caps);
        check(&fields, &requests, caps, &format!("case {case}"));
        let best = brute_force(&fields, caps);
        assert_eq!(
            bytes(&requests, caps.framing),
            best,
            "case {case}: {fields:?} {caps:?} gave {requests:?}"
        );
    }
}

#[test]
fn the_usual_cases() {
    let holding = |start, count| Span { table: Table::Holding, start, count };
    let tcp = Framing::Tcp;
    let caps = Caps { registers: 125, bits: 2_000, gap: 0, each_alone: false, framing: tcp };
    let spans = |fields: &[Span], caps| plan(fields, caps).iter().map(|r| r.span).collect::<Vec<_>>();
    assert_eq!(spans(&[], caps), []);
    // Neighbours together, in whatever order they are configured; across a gap only when that is allowed.
    assert_eq!(spans(&[holding(102, 2), holding(100, 2)], caps), [holding(100, 4)]);
    assert_eq!(spans(&[holding(100, 2), holding(103, 1)], caps), [holding(100, 2), holding(103, 1)]);
    assert_eq!(spans(&[holding(100, 2), holding(103, 1)], Caps { gap: 1, ..caps }), [holding(100, 4)]);
    // A gap that costs more than a request is not read even if it is allowed.
    assert_eq!(spans(&[holding(0, 1), holding(100, 1)], Caps { gap: 120, ..caps }).len(), 2);
    // What a gap may cost depends on the framing: 10 registers are dearer than a request over TCP, 6 over RTU.
    let pair = |gap: u16| [holding(0, 1), holding(1 + gap, 1)];
    let requests = |gap, framing| spans(&pair(gap), Caps { gap: 120, framing, ..caps }).len();
    assert_eq!((requests(10, tcp), requests(11, tcp)), (1, 2));
    assert_eq!((requests(6, Framing::Rtu), requests(7, Framing::Rtu)), (1, 2));
    assert_eq!((requests(32, Framing::Tls), requests(33, Framing::Tls)), (1, 2));
    // A device that cannot: one request for each place, and one for all that lies in it.
    let alone = Caps { each_alone: true, gap: 120, ..caps };
    assert_eq!(spans(&[holding(6, 2), holding(5, 1), holding(5, 1)], alone), [holding(5, 1), holding(6, 2)]);
    // Sixteen bits of a register are one register.
    assert_eq!(spans(&[holding(5, 1); 16], caps), [holding(5, 1)]);
    // The end of the address space.
    assert_eq!(spans(&[holding(65_535, 1), holding(65_532, 3)], caps), [holding(65_532, 4)]);
    // 4,096 fields in a row.
    let many: Vec<Span> = (0..4_096).map(|at| holding(at, 1)).collect();
    assert_eq!(plan(&many, caps).len(), 33);
}

#[test]
fn a_refused_request_is_divided_until_each_place_stands_alone() {
    const SEED: u64 = 13;
    let mut random = SplitMix(SEED);
    for case in 0..2_000 {
        let fields = some_fields(&mut random, 7, 60);
        let caps = Caps { gap: 20, ..caps(&mut random) };
        let mut left = plan(&fields, caps);
        let mut places = fields.clone();
        places.sort_unstable();
        places.dedup();
        let mut alone = Vec::new();
        while let Some(request) = left.pop() {
            match split(&request, &fields, caps) {
                Some(parts) => {
                    assert!(parts.len() > 1, "seed {SEED} case {case}");
                    let mut before = request.fields.clone();
                    let mut after: Vec<usize> = parts.iter().flat_map(|part| part.fields.clone()).collect();
                    before.sort_unstable();
                    after.sort_unstable();
                    assert_eq!(before, after, "seed {SEED} case {case}");
                    left.extend(parts);
                }
                None => alone.push(request.span),
            }
        }
        alone.sort_unstable();
        assert_eq!(alone, places, "seed {SEED} case {case}");
    }
}
