//! SunSpec: hostile chains and registers, units, and the file that is written of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::support::cases;
use crate::backoff::SplitMix;
use crate::config;
use crate::modbus::scan::file::{Wish, configuration};
use crate::modbus::scan::{Answering, Scanned, SunSpec, Unit};
use crate::modbus::sunspec::chain::{HEAD, Link, MODELS_MAX, Next, Walk};
use crate::modbus::sunspec::decode::{Model, Scale, decode};
use crate::modbus::sunspec::definition::{Group, definition, known};
use crate::modbus::sunspec::kind::PointKind;
use crate::modbus::sunspec::unit::ucum;
use crate::modbus::sunspec::{END, MARK};

/// Walks through registers as a scan does. Returns the walk, and how often something was read.
fn walk(base: u16, registers: &[u16]) -> Option<(Walk, usize)> {
    let at = |address: u32| registers.get(address.checked_sub(base.into())? as usize).copied();
    let mut walk = Walk::start(base, &[at(base.into())?, at(u32::from(base) + 1)?])?;
    let mut reads = 0;
    while let Next::Head(address) = *walk.next() {
        reads += 1;
        assert!(reads <= MODELS_MAX + 1, "the walk goes on and on: {walk:?}");
        match at(address.into()) {
            Some(id) => walk.head(id, at(u32::from(address) + 1)),
            None => walk.unreadable("exception 2"),
        }
    }
    Some((walk, reads))
}

fn some_word(random: &mut SplitMix) -> u16 {
    let word = random.next() as u16;
    match random.next() % 8 {
        0 => 0,
        1 => END,
        2 => 0x8000,
        3 | 4 => word % 12,
        5 => 65_535 - word % 12,
        _ => word,
    }
}

/// The points of a model lie within it, in order, and do not overlap.
fn check_places(model: &Model, case: u64) {
    let mut end = u32::from(model.link.address) + u32::from(HEAD);
    for point in &model.points {
        assert!(u32::from(point.address) >= end, "case {case}: {point:?} overlaps, in {:?}", model.link);
        assert_eq!(point.registers.len(), usize::from(point.kind.registers()), "case {case}");
        end = u32::from(point.address) + point.registers.len() as u32;
    }
    let last = u32::from(model.link.address) + u32::from(HEAD) + u32::from(model.link.length);
    assert!(end <= last, "case {case}: a point beyond the end of {:?}", model.link);
}

fn unit(unit_id: u8, models: Vec<Model>) -> Unit {
    let sunspec = SunSpec { base: 0, models, broken: None, max_registers: 125 };
    let identification = Vec::new();
    Unit { unit_id, answer: Answering::Yes, identification, sunspec: Some(sunspec), readable: Vec::new() }
}

fn file_of(units: Vec<Unit>, wish: &Wish) -> (String, usize) {
    configuration(&Scanned { address: "10.0.0.7:502".to_owned(), units, questions: 0, cut_short: None }, wish)
}

#[test]
fn a_chain_of_any_registers_ends_after_a_bounded_number_of_steps() {
    const SEED: u64 = 61;
    println!("seed: {SEED}");
    let mut random = SplitMix(SEED);
    let (mut ended, mut broken) = (0, 0);
    for case in 0..cases() {
        let base = [0, 40_000, 50_000, 65_500][random.next() as usize % 4];
        let most = (0x1_0000 - u32::from(base)).min(2_000) as usize;
        let mut registers = MARK.to_vec();
        // Half of them are chains in which only the lengths are odd.
        let is_chain = random.next().is_multiple_of(2);
        while registers.len() < most {
            if is_chain {
                let length = [0, 0, 1, 2, 66, 65_535][random.next() as usize % 6];
                let id =
                    if random.next().is_multiple_of(16) { END } else { 1 + some_word(&mut random) % 900 };
                registers.extend([id, length]);
                registers.extend((0..length.min(66)).map(|_| some_word(&mut random)));
            } else {
                registers.push(some_word(&mut random));
            }
        }
        registers.truncate(most);
        let (walk, _) = walk(base, &registers).expect("it begins with the mark");
        match walk.next() {
            Next::End => ended += 1,
            Next::Broken(why) => {
                broken += 1;
                assert!(!why.is_empty());
            }
            Next::Head(_) => panic!("case {case}: not at an end"),
        }
        let mut end = u32::from(base) + 2;
        for link in walk.links() {
            assert_eq!(u32::from(link.address), end, "case {case}: a gap or an overlap");
            end += u32::from(HEAD) + u32::from(link.length);
            assert!(end <= 0x1_0000, "case {case}: beyond the last register");
        }
    }
    println!("{ended} ended as they should, {broken} were broken");
    assert!(ended.min(broken) > cases() / 50, "the generator makes both");
}

#[test]
fn hostile_chains_are_named() {
    let broken = |base: u16, registers: &[u16]| match walk(base, registers).expect("the mark").0.next() {
        Next::Broken(why) => why.clone(),
        other => panic!("{other:?}"),
    };
    let [s, u] = MARK;
    // Nothing but the mark, and zeros after it: each step would find a model of length 0.
    assert!(broken(40_000, &[s, u, 0, 0, 0, 0]).contains("model id 0 at 40002"));
    // Length 0 for ever.
    let loops: Vec<u16> = MARK.into_iter().chain([7, 0].repeat(10_000)).collect();
    assert!(broken(0, &loops).contains("after 200 models"));
    // Beyond the address space, once by a length and once by its sheer end.
    assert!(broken(40_000, &[s, u, 103, 65_000]).contains("a length of 65000, beyond the last register"));
    let to_the_end = (0x1_0000_u32 - 40_000 - 4) as u16;
    let long: Vec<u16> = [s, u, 103, to_the_end].into_iter().chain(vec![0; 30_000]).collect();
    assert_eq!(broken(40_000, &long), "the registers end before the end mark 0xFFFF");
    // A device that refuses to be read further.
    assert!(broken(40_000, &[s, u, 1, 2, 0, 0]).contains("40006 cannot be read (exception 2)"));
    // An end mark without a length is an end.
    assert_eq!(walk(0, &[s, u, END]).expect("the mark").0.next(), &Next::End);
    assert_eq!(walk(0, &[u, s, END]), None);
}

#[test]
fn a_model_of_any_registers_is_decoded_within_its_bounds() {
    const SEED: u64 = 62;
    println!("seed: {SEED}");
    let mut random = SplitMix(SEED);
    let ids: Vec<u16> = known().collect();
    let mut points = 0;
    for case in 0..cases() {
        let id = match random.next() % 20 {
            0 => random.next() as u16,
            _ => ids[random.next() as usize % ids.len()],
        };
        let length =
            [0, 1, 2, 20, 50, 66, 66, 200, 200, 900][random.next() as usize % 10] + random.next() as u16 % 12;
        // Sometimes not all could be read, and sometimes there is more than the model says.
        let there = usize::from(length) * [1, 1, 1, 2, 0][random.next() as usize % 5];
        let registers: Vec<u16> = (0..there).map(|_| some_word(&mut random)).collect();
        let link = Link { id, address: 40_002, length };
        let model = decode(link, &registers);
        check_places(&model, case);
        for point in &model.points {
            // Nothing of it panics, and what a stream would read is what is shown.
            let (value, shown) = (point.decoded(), point.value());
            assert_eq!(value.is_none(), point.encoding().is_none(), "case {case}");
            if let Scale::Power(power, _) = point.scale {
                assert!((-10..=10).contains(&power), "case {case}");
            }
            if !point.is_implemented() {
                assert_eq!(shown.as_f64(), None, "case {case}: a mark became a number: {point:?}");
            }
        }
        let rest = model.rest.as_ref().map_or(0, |(_, registers)| registers.len());
        let explained: usize = model.points.iter().map(|point| point.registers.len()).sum();
        assert!(explained + rest <= usize::from(length), "case {case}: {model:?}");
        points += model.points.len();
        // What is written of it is always a right configuration.
        if case % 500 == 0 {
            for all in [false, true] {
                let (file, streams) = file_of(vec![unit(1, vec![model.clone()])], &Wish { all, name: None });
                let sources =
                    config::sources(&file).unwrap_or_else(|errors| panic!("case {case}: {errors:?}\n{file}"));
                assert_eq!(
                    sources.iter().map(|source| source.streams().len()).sum::<usize>(),
                    streams,
                    "case {case}"
                );
            }
        }
    }
    println!("{points} points");
}

#[test]
fn a_count_that_does_not_fit_is_cut_at_the_end_of_the_model() {
    // Model 705, whose 13 registers before the curves end with counts and scale factors: NPt and NCrv are 65000.
    let group = definition(705).expect("known");
    let mut registers: Vec<u16> = Vec::new();
    for point in &group.points {
        registers.extend(match point.name {
            "NPt" | "NCrv" => vec![65_000],
            _ => vec![0; point.kind.registers().into()],
        });
    }
    registers.extend([1; 40]);
    let model = decode(Link { id: 705, address: 100, length: registers.len() as u16 }, &registers);
    check_places(&model, 0);
    assert!(
        model.notes.iter().any(|note| note.contains("NCrv says 65000 of Crv, which do not fit")),
        "{:?}",
        model.notes
    );
    assert!(model.notes.iter().any(|note| note.contains("ends within its definition")), "{:?}", model.notes);
    assert_eq!(model.points.iter().filter(|point| point.path.starts_with("Crv/")).count(), 10 - 1 + 30);
}

#[test]
fn a_scale_factor_that_cannot_be_one_leaves_the_raw_number_without_a_unit() {
    let group = definition(103).expect("known");
    for (word, expected) in [
        (1_u16, Scale::Power(1, Some("A_SF"))),
        ((-10_i16) as u16, Scale::Power(-10, Some("A_SF"))),
        (0x8000, Scale::Unknown("A_SF is not implemented".to_owned())),
        (11, Scale::Unknown("A_SF says 11, which is not within -10 to 10".to_owned())),
    ] {
        let mut registers = Vec::new();
        for point in &group.points {
            registers
                .extend(vec![if point.name == "A_SF" { word } else { 7 }; point.kind.registers().into()]);
        }
        let model = decode(Link { id: 103, address: 40_070, length: 50 }, &registers);
        let amps = model.points.iter().find(|point| point.path == "A").expect("amperes");
        assert_eq!(amps.scale, expected);
        let (text, ucum) = match word {
            1 => ("70", Some("A")),
            0x8000 | 11 => ("7", None),
            _ => ("0.0000000007", Some("A")),
        };
        assert_eq!((amps.value().to_string().as_str(), amps.ucum()), (text, ucum));
        let (file, _) = file_of(vec![unit(1, vec![model.clone()])], &Wish::default());
        let source = config::sources(&file).expect("right").remove(0);
        let stream =
            source.streams().iter().find(|stream| stream.descriptor.name.ends_with("/A")).expect("amperes");
        assert_eq!(stream.descriptor.scale, amps.factor());
        assert_eq!(stream.descriptor.unit, ucum.unwrap_or_default());
        assert_eq!(file.contains("# No scale: A_SF"), ucum.is_none());
    }
}

/// Story: what a device calls itself goes into comments and names of a file that somebody will run. A device that calls
/// itself "x\n[[device]]…" would configure the gateway.
#[test]
fn a_device_cannot_write_a_line_of_the_file() {
    let hostile = "evil\n[[device]]\nna\r\u{202e}";
    let mut registers = Vec::new();
    for _ in 0..2 {
        let mut bytes = hostile.as_bytes().to_vec();
        bytes.resize(32, 0);
        registers.extend(bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])));
    }
    registers.resize(66, 0x0A0A);
    let model = decode(Link { id: 1, address: 40_002, length: 66 }, &registers);
    assert_eq!(model.points[0].value(), crate::mapping::Scaled::Text(hostile.to_owned()));
    let (file, _) = file_of(vec![unit(1, vec![model])], &Wish::default());
    assert_eq!(file.lines().filter(|line| line.trim_start() == "[[device]]").count(), 1, "{file}");
    assert!(!file.contains(['\r', '\u{202e}']), "{file}");
    let sources = config::sources(&file).expect("a right configuration");
    assert_eq!(sources[0].device(), "evil-device-na-unit-1");
}

#[test]
fn every_line_of_the_table_is_read_and_every_unit_is_known_or_left_out_on_purpose() {
    fn units(group: &Group, seen: &mut BTreeSet<&'static str>, points: &mut usize) {
        *points += group.points.len();
        seen.extend(
            group.points.iter().filter(|point| point.kind != PointKind::Sunssf).map(|point| point.unit),
        );
        group.groups.iter().for_each(|group| units(group, seen, points));
    }
    let (mut seen, mut points) = (BTreeSet::new(), 0);
    let ids: Vec<u16> = known().collect();
    assert!(ids.is_sorted(), "{ids:?}");
    for id in &ids {
        units(
            &definition(*id).unwrap_or_else(|| panic!("model {id} cannot be read")),
            &mut seen,
            &mut points,
        );
    }
    // As many as the package pysunspec2 has, without the ids and lengths.
    assert_eq!((ids.len(), points), (112, 3_802 - 2 * 112));
    let left_out: Vec<&str> = seen.iter().copied().filter(|unit| ucum(unit).is_none()).collect();
    assert_eq!(left_out, ["DeptRef", "YYYYMMDD", "hhmmss", "hhmmss.sssZ", "text"]);
    for unit in seen.iter().filter_map(|unit| ucum(unit)) {
        assert!(unit.bytes().all(|byte| byte.is_ascii_graphic()), "{unit:?}");
    }
    assert_eq!(definition(60_000), None);
}

/// The table is what its program makes of the pinned package, so nobody edits it by hand.
#[test]
fn the_table_is_what_its_program_makes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("SELVEDGE_TEST_PYTHON")
        .map_or_else(|| folder.join("../.test-env/python/bin/python"), std::path::PathBuf::from);
    let made = Command::new(python)
        .arg(folder.join("sunspec/generate.py"))
        .arg("--check")
        .arg(folder.join("src/modbus/sunspec/models.txt"))
        .output()
        .expect("Python with tests/requirements.txt: `tests/run` installs it");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
