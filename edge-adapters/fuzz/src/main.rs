//! One program for all decoders: `FUZZ_DECODER` names which.
#![no_main]

use std::sync::OnceLock;

static DECODER: OnceLock<fn(&[u8])> = OnceLock::new();

fn decoder() -> fn(&[u8]) {
    let named = std::env::var("FUZZ_DECODER").unwrap_or_default();
    let found = edge_adapters::fuzzing::DECODERS.iter().find(|(name, _)| *name == named);
    let Some((_, decode)) = found else {
        let names: Vec<&str> = edge_adapters::fuzzing::DECODERS.iter().map(|(name, _)| *name).collect();
        eprintln!("FUZZ_DECODER={named:?}; expected one of {}", names.join(", "));
        std::process::exit(2);
    };
    *decode
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| DECODER.get_or_init(decoder)(data));
