//! `selvedge adapter listen`: what a broker has, as a configuration.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use edge_adapters::mqtt::survey::{Head, Report, Request, TopicReport, Url, look, propose, unborn};
use serde_json::json;

use super::parse_duration;
use crate::answers::times::{plain, plural};
use crate::cli::{Failed, Globals, start_log};

const AFTER_HELP: &str = "\
Examples:
  selvedge adapter listen mqtt mqtt://broker.local                   what is there?
  selvedge adapter listen mqtt mqtt://broker.local --for 1min --topic 'plant/#' --out broker.toml
  selvedge adapter test --config broker.toml                         the configuration is used as it is
  selvedge adapter listen mqtt mqtts://broker.local --ca ca.pem --user eva --password-file eva.secret

It only listens, as a client of its own and without acknowledging anything: what a running gateway waits for still \
reaches it. With --rebirth it says one thing: edge nodes of Sparkplug B that talk, and whose births did not come, are asked \
for them once. Only births name metrics and types, and no broker keeps them.

The broker sends what it has kept first, so there is something to see at once; rates come from the rest.

While a gateway is away, a broker keeps a limited number of messages for it and drops the rest without a word: mosquitto \
1,000, unless its configuration says `max_queued_messages 0`; others have a like limit.

Exit codes: 0 something came; 1 nothing did, nothing of it could be written into --out, or there is no connection; \
2 wrong use, or the file cannot be written.";

/// What of a topic's fields is shown without --json.
const FIELDS_SHOWN: usize = 12;
/// What of the metrics of a birth.
const METRICS_SHOWN: usize = 40;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    protocol: Protocol,
}

#[derive(Debug, clap::Subcommand)]
enum Protocol {
    /// MQTT: topics, rates, what the messages are, and a configuration for them.
    #[command(after_help = AFTER_HELP)]
    Mqtt(MqttArgs),
}

#[derive(Debug, clap::Args)]
struct MqttArgs {
    /// Where: mqtt://HOST[:PORT], or mqtts://HOST[:PORT] with TLS.
    url: Url,
    /// For how long.
    #[arg(long = "for", default_value = "10s", value_parser = parse_duration, value_name = "DURATION")]
    duration: Duration,
    /// Topics, as MQTT writes filters: + for a level, # for all further ones. Several times for several.
    #[arg(long = "topic", default_value = "#", value_name = "FILTER")]
    topics: Vec<String>,
    /// Speak MQTT 5, and not 3.1.1.
    #[arg(long = "mqtt5")]
    is_version_5: bool,
    /// User name.
    #[arg(long)]
    user: Option<String>,
    /// File with the password, or credential:NAME.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<String>,
    /// Certificates of the authorities that are trusted; those of the system if not given.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// This client's certificate.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// And its key.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<String>,
    /// The name in the broker's certificate, if it is not the host's.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Ask edge nodes of Sparkplug B for births that do not come: a message to machines, which then send all that they have.
    #[arg(long = "rebirth")]
    asks_for_births: bool,
    /// Write a configuration into this new file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs it.
pub(super) fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let Protocol::Mqtt(args) = args.protocol;
    start_log("error");
    if let Some(out) = &args.out {
        anyhow::ensure!(
            !out.exists(),
            "{} is there already and is not overwritten; name another file",
            out.display()
        );
    }
    let request = Request {
        url: args.url.clone(),
        is_version_5: args.is_version_5,
        filters: args.topics.clone(),
        user: args.user.clone(),
        password_file: args.password_file.clone(),
        ca_file: args.ca.clone(),
        identity: args.cert.clone().zip(args.key.clone()),
        server_name: args.server_name.clone(),
        lasts: args.duration,
        asks_for_births: args.asks_for_births,
    };
    request.check().map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let address = format!("{}:{}", args.url.host, args.url.port);
    eprintln!("selvedge: listening to {address} for {:?}", args.duration);
    let progress = |messages: u64| eprintln!("selvedge: {messages} messages");
    let (survey, cut) =
        runtime.block_on(look(&request, progress)).map_err(|why| Failed(format!("{address}: {why}")))?;
    let report = survey.report();
    let (text, streams) = propose(&head(&args, address.clone())?, &report);
    let written = args.out.as_ref().filter(|_| streams > 0);
    if let Some(out) = written {
        write(out, &text)?;
    }
    let shown = if globals.json {
        let file = written.map(|path| json!({ "path": path, "streams": streams }));
        json!({ "address": address, "report": report, "file": file, "ended_early": cut }).to_string() + "\n"
    } else {
        words(&report, streams, written.map(PathBuf::as_path))
    };
    match std::io::stdout().lock().write_all(shown.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    if let Some(cut) = cut {
        return Err(Failed(format!("{address}: the connection ended early: {cut}")).into());
    }
    if report.messages == 0 {
        let hint = "nothing came; listen for longer, with another --topic, or ask whether this user may read";
        return Err(Failed(format!("{address}: {hint}")).into());
    }
    if let Some(out) = args.out.filter(|_| streams == 0) {
        let why = "nothing came of which a stream could be made, so this file was not written";
        return Err(Failed(format!("{}: {why}", out.display())).into());
    }
    Ok(ExitCode::SUCCESS)
}

/// The device's own lines. Paths are written from the root, since a gateway is started elsewhere.
fn head(args: &MqttArgs, address: String) -> anyhow::Result<Head> {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let whole = |path: &Path| -> anyhow::Result<String> {
        let path = std::path::absolute(path).with_context(|| path.display().to_string())?;
        Ok(text(&path.to_string_lossy()))
    };
    let secret = |written: &str| {
        if written.starts_with("credential:") { Ok(text(written)) } else { whole(Path::new(written)) }
    };
    let mut lines = Vec::new();
    if args.is_version_5 {
        lines.push("version = \"5\"".to_owned());
    }
    if let Some(user) = &args.user {
        lines.push(format!("user = {}", text(user)));
    }
    if let Some(file) = &args.password_file {
        lines.push(format!("password_file = {}", secret(file)?));
    }
    let mut tls = Vec::new();
    if let Some(ca) = &args.ca {
        tls.push(format!("ca_file = {}", whole(ca)?));
    }
    if let (Some(certificate), Some(key)) = (&args.cert, &args.key) {
        tls.push(format!("certificate_file = {}", whole(certificate)?));
        tls.push(format!("key_file = {}", secret(key)?));
    }
    if let Some(name) = &args.server_name {
        tls.push(format!("server_name = {}", text(name)));
    }
    Ok(Head { address, lines, tls: args.url.has_tls.then_some(tls) })
}

fn write(out: &Path, text: &str) -> anyhow::Result<()> {
    let what = || format!("{} cannot be written", out.display());
    let mut file = std::fs::File::create_new(out).with_context(what)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(what)
}

fn words(report: &Report, streams: usize, written: Option<&Path>) -> String {
    let mut lines: Vec<String> = report.topics.iter().flat_map(topic_words).collect();
    if report.messages_left_out > 0 {
        let (count, topics) = (report.messages_left_out, report.topics.len());
        lines.push(format!(
            "{count} messages on further topics than these {topics}; a narrower --topic shows them"
        ));
    }
    if report.births_asked > 0 {
        lines.push(format!("asked {} for births", plural(report.births_asked as u64, "edge node")));
    }
    let unborn = unborn(report);
    if let Some(first) = unborn.first() {
        let more = match unborn.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        lines.push(format!(
            "no birth of {}{more} came, and only births name metrics: listen for longer, restart the edge node meanwhile, or \
             ask for births with --rebirth",
            plain(first)
        ));
    }
    match written {
        Some(file) => {
            let file = file.display();
            lines.push(format!(
                "wrote {file} with {streams} streams; look through it, then: selvedge adapter test --config {file}"
            ));
        }
        None if streams > 0 => lines.push("--out FILE writes a configuration for it".to_owned()),
        None => {}
    }
    lines.join("\n") + "\n"
}

fn topic_words(topic: &TopicReport) -> Vec<String> {
    let rate = match topic.per_second {
        Some(rate) if rate >= 10.0 => format!(", {rate:.0}/s"),
        Some(rate) if rate >= 0.1 => format!(", {rate:.1}/s"),
        Some(rate) => format!(", every {:.0} s", 1.0 / rate),
        None => String::new(),
    };
    let kept =
        if topic.retained > 0 { format!(", {} kept by the broker", topic.retained) } else { String::new() };
    let note = topic.note.as_deref().map_or(String::new(), |note| format!(" ({})", plain(note)));
    let mut lines = vec![format!(
        "{}  {}{note}: {} messages{rate}{kept}, up to {} bytes",
        plain(&topic.topic),
        topic.kind,
        topic.messages,
        topic.bytes_max
    )];
    for field in topic.fields.iter().take(FIELDS_SHOWN) {
        let place = if field.place.is_empty() { "the message" } else { &field.place };
        let kind = json!(field.kind);
        let kind = kind.as_str().unwrap_or_default();
        lines.push(format!("    {:<32} {kind:<8} {}", plain(place), plain(&field.example)));
    }
    for metric in topic.metrics.iter().take(METRICS_SHOWN) {
        let kind = metric.kind.as_deref().unwrap_or("no type");
        let unit = metric.unit.as_deref().unwrap_or_default();
        let value = format!("{} {unit}", metric.example);
        lines.push(format!("    {:<32} {kind:<8} {}", plain(&metric.name), plain(value.trim_end())));
    }
    let metrics_more = topic.metrics.len().saturating_sub(METRICS_SHOWN) as u64;
    let more = metrics_more + topic.fields.len().saturating_sub(FIELDS_SHOWN) as u64 + topic.fields_left_out;
    if more > 0 {
        lines.push(format!("    and {more} more"));
    }
    lines
}
