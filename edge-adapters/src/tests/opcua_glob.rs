//! Patterns for paths in an OPC-UA address space, against the plainest way to say what they mean.

use super::support::cases;
use crate::backoff::SplitMix;
use crate::opcua::browse::glob::{Glob, GlobError, NAMES_MAX, PATTERN_BYTES_MAX, escaped};

fn glob(text: &str) -> Glob {
    text.parse().unwrap_or_else(|why| panic!("{text:?}: {why}"))
}

#[test]
fn what_patterns_mean() {
    for (pattern, path, is_meant) in [
        ("Objects/Line1/**", "Objects/Line1", true),
        ("Objects/Line1/**", "Objects/Line1/Filler/Level", true),
        ("Objects/Line1/**", "Objects/Line10/Filler", false),
        ("Objects/*/Level", "Objects/Filler/Level", true),
        ("Objects/*/Level", "Objects/Line1/Filler/Level", false),
        ("**/Level", "Level", true),
        ("**/Level", "Objects/Line1/Filler/Level", true),
        ("**/Filler/**/Level", "Objects/Filler/Level", true),
        ("**/Filler/**/Level", "Objects/Filler/a/b/Level", true),
        ("Objects/V0??2", "Objects/V0122", true),
        ("Objects/V0??2", "Objects/V022", false),
        ("Objects/*e*l", "Objects/Level", true),
        ("Objects/*", "Objects/", true),
        ("Objects/?", "Objects/Ω", true),
        ("**", "", true),
        // Names with case: a PLC may have both.
        ("Objects/level", "Objects/Level", false),
    ] {
        let names: Vec<&str> = if path.is_empty() { Vec::new() } else { path.split('/').collect() };
        assert_eq!(glob(pattern).is_match(names), is_meant, "{pattern} on {path}");
    }
    // What belongs to a name.
    assert!(glob(r"Objects/with\/slash\*").is_match(["Objects", "with/slash*"]));
    assert!(!glob(r"Objects/with\/slash\*").is_match(["Objects", "with/slash!"]));
    assert!(glob("Objects/Line1/**").begins_with(&["Objects", "Line1"]));
    assert!(!glob("Objects/**").begins_with(&["Objects", "Line1"]));
    assert!(!glob("**").begins_with(&["Objects", "Server"]));
}

#[test]
fn what_is_no_pattern() {
    for (text, why) in [
        ("", GlobError::Length),
        ("/Objects", GlobError::EmptyName),
        ("Objects/", GlobError::EmptyName),
        ("Objects//Level", GlobError::EmptyName),
        ("Objects/Line**", GlobError::NotAlone),
        ("Objects/***", GlobError::NotAlone),
        ("Objects/Line\\", GlobError::Backslash),
        (&"a/".repeat(NAMES_MAX), GlobError::EmptyName),
        (&vec!["a"; NAMES_MAX + 1].join("/"), GlobError::Names),
        (&"a".repeat(PATTERN_BYTES_MAX + 1), GlobError::Length),
    ] {
        assert_eq!(text.parse::<Glob>(), Err(why), "{text:?}");
    }
    // A pattern as long as may be does not take for ever on a name that nearly fits.
    let hostile = format!("{}b", "*a".repeat(2_000));
    assert!(!glob(&hostile).is_match(["a".repeat(4_000).as_str()]));
    let many = vec!["**"; 1_300].join("/");
    assert!(glob(&many).is_match(["a", "b"]));
}

/// The plainest way: try everything.
fn is_meant(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), None) => is_meant(rest, path),
        (Some((&"**", rest)), Some((_, below))) => is_meant(rest, path) || is_meant(pattern, below),
        (Some((part, rest)), Some((name, below))) => {
            let (part, name): (Vec<char>, Vec<char>) = (part.chars().collect(), name.chars().collect());
            is_name(&part, &name) && is_meant(rest, below)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn is_name(part: &[char], name: &[char]) -> bool {
    match (part.split_first(), name.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => {
            is_name(rest, name) || name.split_first().is_some_and(|(_, n)| is_name(part, n))
        }
        (Some(('\\', rest)), Some((char, n))) => rest.first() == Some(char) && is_name(&rest[1..], n),
        (Some(('?', rest)), Some((_, n))) => is_name(rest, n),
        (Some((wanted, rest)), Some((char, n))) => wanted == char && is_name(rest, n),
        _ => false,
    }
}

/// Few letters, so that much fits.
fn word(random: &mut SplitMix, letters: &[&str], most: u64) -> String {
    (0..=random.next() % most).map(|_| letters[(random.next() % letters.len() as u64) as usize]).collect()
}

#[test]
fn patterns_mean_what_the_plainest_way_says() {
    let seed = 0x61_0B;
    println!("seed {seed:#x}");
    let mut random = SplitMix(seed);
    let mut meant = 0;
    for case in 0..cases() {
        let parts: Vec<String> = (0..=random.next() % 4)
            .map(|_| match random.next() % 4 {
                0 => "**".to_owned(),
                _ => word(&mut random, &["a", "b", "*", "?", r"\*", r"\/", "é"], 3).replace("**", "*"),
            })
            .collect();
        let path: Vec<String> =
            (0..random.next() % 5).map(|_| word(&mut random, &["a", "b", "*", "/", "é"], 3)).collect();
        let pattern = parts.join("/");
        let glob = match pattern.parse::<Glob>() {
            Ok(glob) => glob,
            // `*` after an escaped star that was no pair before.
            Err(GlobError::NotAlone) => continue,
            Err(why) => panic!("case {case}: {pattern:?}: {why}"),
        };
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let expected = is_meant(&parts, &path);
        assert_eq!(glob.is_match(path.iter().copied()), expected, "case {case}: {pattern:?} on {path:?}");
        meant += u64::from(expected);
        // What is meant is on a way that may go on.
        let mut step = glob.start();
        for name in &path {
            assert!(!expected || step.may_go_on(), "case {case}: {pattern:?} on {path:?}");
            step = glob.step(step, name);
        }
        // A path as a pattern means itself alone.
        let itself: Vec<String> = path.iter().map(|name| escaped(name)).collect();
        if !path.is_empty() {
            let itself: Glob = itself.join("/").parse().expect("a path");
            assert!(itself.is_match(path.iter().copied()), "case {case}: {path:?}");
            assert!(itself.begins_with(&path));
        }
    }
    assert!(meant > cases() / 20, "{meant} were meant");
}

#[test]
fn no_text_makes_the_parser_fail() {
    let seed = 0x61_0C;
    println!("seed {seed:#x}");
    let mut random = SplitMix(seed);
    let letters = ["a", "*", "**", "?", "\\", "/", "é", "\u{0}", "𝄞", " "];
    for _ in 0..cases() {
        let text = word(&mut random, &letters, 12);
        if let Ok(glob) = text.parse::<Glob>() {
            assert_eq!(glob.to_string(), text);
            glob.is_match(["a", "b/", "*"]);
        }
    }
}
