//! One attack on a pair: what it tried, what it got, what it cost.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::attack::Attack;
use super::cost::{self, CpuSince};
use super::pair::{self, Pair};
use crate::process::Process;

/// How an attack is made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which.
    pub attack: Attack,
    /// Whose keys: names of hostile members.
    pub keys: Vec<String>,
    /// How many of what it counts.
    pub count: u64,
    /// For how many seconds at most.
    pub seconds: f64,
}

impl Plan {
    /// An attack with the keys of the member that is named after it.
    pub fn new(attack: Attack, count: u64, seconds: f64) -> Self {
        Self { attack, keys: vec![attack.name()], count, seconds }
    }

    /// The same with an observer of that name.
    #[must_use]
    pub fn observed_by(mut self, name: &str) -> Self {
        self.keys.push(name.into());
        self
    }
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was done.
    pub plan: Plan,
    /// What the attacker says.
    pub said: Value,
    /// Processor seconds a second of each honest gateway.
    pub cpu: Vec<f64>,
    /// The most memory that each held meanwhile, in bytes.
    pub rss_most: Vec<u64>,
    /// The longest that a new batch took to the other gateway meanwhile.
    pub crossing: Duration,
    /// Lines that the gateways wrote to their logs meanwhile.
    pub log: Vec<String>,
    /// What `peers --json` said meanwhile and afterwards, as text.
    pub peers: String,
    /// The attacker's entry in `peers`, as it was seen last, of each gateway that saw it.
    pub entries: Vec<Value>,
}

impl Outcome {
    /// A number that the attacker says.
    pub fn number(&self, pointer: &str) -> u64 {
        let found = self.said.pointer(pointer);
        found.and_then(Value::as_u64).unwrap_or_else(|| panic!("no number at {pointer} in {}", self.said))
    }

    /// Why connections ended or never began, and how often.
    pub fn reasons(&self) -> Vec<(String, u64)> {
        let reasons = self.said["got"]["reasons"].as_object().expect("a table of reasons");
        let mut list: Vec<(String, u64)> =
            reasons.iter().map(|(why, count)| (why.clone(), count.as_u64().unwrap_or(0))).collect();
        list.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        list
    }

    /// Is this among the reasons?
    pub fn was_told(&self, text: &str) -> bool {
        self.reasons().iter().any(|(why, _)| why.contains(text))
    }

    /// Do the honest gateways name it, in `peers` or their logs?
    pub fn is_named(&self, text: &str) -> bool {
        self.peers.contains(text) || self.log.iter().any(|line| line.contains(text))
    }

    /// What the gateways counted of the attacker, in words.
    pub fn counted(&self) -> String {
        let names = ["faults", "ignored", "repeated", "pending", "queued_bytes", "frames_dropped"];
        let sum = |name: &str| self.entries.iter().filter_map(|entry| entry[name].as_u64()).sum::<u64>();
        let words = names.into_iter().map(|name| (name, sum(name))).filter(|(_, count)| *count > 0);
        words
            .map(|(name, count)| format!("{} {count}", name.replace('_', " ")))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Bytes that the gateways wrote to their logs meanwhile.
    pub fn log_bytes(&self) -> u64 {
        self.log.iter().map(|line| line.len() as u64 + 1).sum()
    }

    /// Where they name it: for people.
    pub fn named_where(&self, text: &str) -> &'static str {
        match (self.peers.contains(text), self.log.iter().any(|line| line.contains(text))) {
            (true, true) => "peers, log",
            (true, false) => "peers",
            (false, true) => "log",
            (false, false) => "nowhere",
        }
    }
}

/// Processor seconds a second of each gateway, with nobody attacking.
pub fn baseline(pair: &mut Pair, least: Duration) -> Vec<f64> {
    let since = std::time::Instant::now();
    let cpu = CpuSince::now(&pair.pids());
    while since.elapsed() < least {
        pair.crossings();
    }
    cpu.rates()
}

/// Attacks a pair, and measures all the while. The pair has to go on working: batches have to reach the other gateway
/// during the attack and after it.
pub fn attack(pair: &mut Pair, plan: &Plan) -> Outcome {
    together(pair, std::slice::from_ref(plan)).remove(0)
}

/// The same with several attackers at once. What it cost is the cost of all of them.
pub fn together(pair: &mut Pair, plans: &[Plan]) -> Vec<Outcome> {
    let lines_before: Vec<usize> = pair.gateways().iter().map(|g| g.log().len()).collect();
    pair.pids().into_iter().for_each(cost::forget_rss_most);
    let cpu = CpuSince::now(&pair.pids());
    let mut attackers: Vec<Process> = plans.iter().map(|plan| start(pair, plan)).collect();
    let mut crossing = Duration::ZERO;
    let mut rates = cpu.rates();
    let mut seen = Seen::default();
    while !attackers.iter_mut().all(Process::has_ended) {
        crossing = crossing.max(pair.crossings().into_iter().max().unwrap_or_default());
        rates = cpu.rates();
        seen.look(pair);
    }
    let rss_most: Vec<u64> = pair.pids().into_iter().map(cost::rss_most).collect();
    let said: Vec<Value> = attackers.into_iter().map(|attacker| attacker.done().expect(0).json()).collect();
    // And after it.
    pair.crossings();
    seen.look(pair);
    let log = pair.gateways().iter().zip(lines_before).flat_map(|(g, before)| g.log().split_off(before));
    let log: Vec<String> = log.collect();
    let outcome = |(plan, said): (&Plan, Value)| Outcome {
        plan: plan.clone(),
        said,
        cpu: rates.clone(),
        rss_most: rss_most.clone(),
        crossing,
        log: log.clone(),
        peers: seen.texts.values().flatten().map(Value::to_string).collect(),
        entries: seen.entries(&format!("h-{}", plan.attack.name())),
    };
    plans.iter().zip(said).map(outcome).collect()
}

/// What `peers --json` showed: the last answer of each gateway, and the last that showed each peer.
#[derive(Default)]
struct Seen {
    texts: BTreeMap<usize, Vec<Value>>,
    peers: BTreeMap<(usize, String), Value>,
}

impl Seen {
    fn look(&mut self, pair: &Pair) {
        for (number, gateway) in pair.gateways().iter().enumerate() {
            let answer = gateway.peers();
            for peer in answer["peers"].as_array().into_iter().flatten() {
                if let Some(name) = peer["name"].as_str() {
                    self.peers.insert((number, name.to_owned()), peer.clone());
                }
            }
            let answers = self.texts.entry(number).or_default();
            // The last one and the one before it: whoever was refused is shown for long.
            if answers.len() == 2 {
                answers.remove(0);
            }
            answers.push(answer);
        }
    }

    fn entries(&self, name: &str) -> Vec<Value> {
        self.peers.iter().filter(|((_, of), _)| of == name).map(|(_, entry)| entry.clone()).collect()
    }
}

/// Starts an attacker.
pub fn start(pair: &Pair, plan: &Plan) -> Process {
    let mut command = pair::hostile();
    command.arg("attack").arg(plan.attack.name());
    for gateway in pair.gateways() {
        command.arg("--at").arg(gateway.address().to_string());
    }
    for name in &plan.keys {
        command.arg("--keys").arg(pair.hostile(name));
    }
    for (name, value) in [
        ("--seed", pair.seed().to_string()),
        ("--count", plan.count.to_string()),
        ("--for", plan.seconds.to_string()),
    ] {
        command.arg(name).arg(value);
    }
    Process::start(&mut command)
}
