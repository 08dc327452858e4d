//! Founding a network together, and what a mix-up is called.

use selvedge_core::Scheme;
use selvedge_core::random::Random;

use super::*;
use crate::document;
use crate::folder::testing::{cases, key, mutated};

fn introduction(seed: u8, organisation: &str, name: &str) -> Introduction {
    let owner = SecretKey::from_seed(Scheme::MlDsa65, &[seed; 32]);
    Introduction::new(organisation, &owner, name, &key(seed).0, seed == 1).expect("signed")
}

fn three() -> Vec<Introduction> {
    vec![
        introduction(1, "Owner AG", "Edge"),
        introduction(2, "Maker Inc", "Press 7"),
        introduction(3, "Auditor", "Eye"),
    ]
}

#[test]
fn three_partners_found_a_network_and_each_finds_itself_in_it() {
    let partners = three();
    let genesis = found("Line 4", [7; 32], &partners, None).expect("a genesis");
    assert_eq!(genesis.organisations.len(), 3);
    assert_eq!(genesis.committee, [0, 1, 2]);
    for partner in &partners {
        partner.named_by(&genesis).expect("named");
        let bytes = document::encode(partner);
        assert_eq!(document::decode::<Introduction>(&bytes).as_ref(), Ok(partner));
    }
    assert_eq!(genesis.members[0].roles, ["gateway", "inviter"]);
    assert_eq!(genesis.members[1].roles, ["gateway"]);
    let id = ids::to_text(&partners[2].issuer());
    let named = found("Line 4", [7; 32], &partners, Some(&[id, "Edge".into()])).expect("a genesis");
    assert_eq!(named.committee, [2, 0]);
}

#[test]
fn two_gateways_of_one_organisation() {
    let owner = SecretKey::from_seed(Scheme::MlDsa65, &[1; 32]);
    let second = Introduction::new("Owner AG", &owner, "Edge 2", &key(9).0, false).expect("signed");
    let genesis = found("x", [0; 32], &[three().remove(0), second], None).expect("a genesis");
    assert_eq!(genesis.organisations.len(), 1);
    assert_eq!(genesis.members[1].organisation, 0);
    let renamed = Introduction::new("Owner", &owner, "Edge 2", &key(9).0, false).expect("signed");
    let error = found("x", [0; 32], &[three().remove(0), renamed], None).expect_err("two names").to_string();
    assert!(error.contains("\"Owner AG\"") && error.contains("\"Owner\""), "{error}");
}

#[test]
fn each_mix_up_is_called_what_it_is() {
    let says = |partners: &[Introduction], committee: Option<&[String]>, words: &[&str]| {
        let error = found("x", [0; 32], partners, committee).expect_err("a mix-up").to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}: {words:?}");
    };
    let good = three();
    says(&[good[0].clone(), good[0].clone()], None, &["introduced twice", "Edge"]);
    says(&[good[0].clone(), introduction(4, "Four", "Edge")], None, &["two gateways", "Edge"]);
    says(&[good[0].clone(), introduction(4, "Owner AG", "Four")], None, &["two organisations", "Owner AG"]);
    says(&good, Some(&["Nobody".into()]), &["Nobody", "Edge, Press 7, Eye"]);
    says(&good, Some(&["Edge".into(), "Edge".into()]), &["twice"]);
    says(&good, Some(&[]), &["committee"]);
    // One file put together from two, or edited.
    let mut edited = good[1].clone();
    edited.name = "Press 8".into();
    says(&[good[0].clone(), edited], None, &["not signed by the organisation key", "Press 8"]);
    let mut mixed = good[1].clone();
    mixed.key = good[2].key.clone();
    says(&[good[0].clone(), mixed], None, &["not signed by the organisation key"]);
    let mut half = good[1].clone();
    half.signatures[1] = good[2].signatures[1].clone();
    says(&[good[0].clone(), half], None, &["not signed by the gateway key"]);
    let mut promoted = good[1].clone();
    promoted.roles.push("inviter".into());
    says(&[good[0].clone(), promoted], None, &["not signed"]);
}

#[test]
fn a_genesis_that_names_a_partner_otherwise_is_noticed_by_it() {
    let partners = three();
    let genesis = found("Line 4", [7; 32], &partners, None).expect("a genesis");
    let mut renamed = genesis.clone();
    renamed.members[1].name = "Press 8".into();
    assert!(
        partners[1].named_by(&renamed).is_err_and(|why| why.contains("Press 8") && why.contains("Press 7"))
    );
    let mut promoted = genesis.clone();
    promoted.members[1].roles.push("inviter".into());
    assert!(partners[1].named_by(&promoted).is_err_and(|why| why.contains("inviter")));
    let mut sold = genesis.clone();
    sold.members[1].organisation = 0;
    assert!(partners[1].named_by(&sold).is_err_and(|why| why.contains("Owner AG")));
    let mut without = genesis;
    without.members.remove(1);
    assert!(partners[1].named_by(&without).is_err_and(|why| why.contains("does not name this gateway")));
}

#[test]
fn no_bytes_make_the_decoder_of_introductions_panic_and_none_get_by() {
    println!("seed 0xC2, {} cases", cases());
    let good = introduction(1, "Owner AG", "Edge");
    let (bytes, body) = (document::encode(&good), codec::encode(&good));
    let mut random = Random::new(&[0xC2; 32]);
    let mut decoded = 0;
    for _ in 0..cases() {
        let file = mutated(&bytes, &mut random);
        assert!(file == bytes || document::decode::<Introduction>(&file).is_err());
        let changed = mutated(&body, &mut random);
        if let Ok(read) = codec::decode::<Introduction>(&changed) {
            decoded += 1;
            assert_eq!(codec::encode(&read), changed);
            assert!(changed == body || decoded > 200 || read.check_signatures().is_err());
        }
    }
    assert!(decoded > 0);
}
