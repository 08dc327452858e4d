//! What becomes of a message: readings, or nothing where it is known already.

use std::time::Duration;

use selvedge_core::border::{NewReading, Origin};
use selvedge_core::reading::{FLAG_POSSIBLY_REPEATED, Quality};
use tokio::time::Instant;

use super::{Gathered, Owed, Session};
use crate::adapter::Context;
use crate::clock::is_sane;
use crate::mqtt::client::{Message, Service};
use crate::mqtt::memory::{Known, digest_of};
use crate::mqtt::payload::{Payload, SourceTime};
use crate::outlet::Readings;
use crate::status_code;

/// Topics whose last message is remembered, to know a retained one again; of further ones it is recorded again.
const TOPICS_MAX: usize = 16_384;
/// A line about a message that cannot be decoded is written this often.
const LINE_EVERY: Duration = Duration::from_mins(1);

impl Session {
    /// What becomes of one message, or when that becomes clear.
    pub(super) fn message(&mut self, message: Message, gathered: &mut Gathered, context: &Context) {
        context.health.messages(|figures| figures.messages += 1);
        // One that comes once at most says nothing of others.
        if message.service == Service::AtMostOnce {
            return self.settle(&message, Known::New, gathered, context);
        }
        let known = self.known(&message);
        let message = match known {
            Known::Older => match self.aside.push(message) {
                Ok(()) => return,
                Err(message) => message,
            },
            _ => message,
        };
        let before = if known == Known::Recorded { known } else { Known::Unknown };
        self.settle_aside(before, gathered, context);
        self.settle(&message, known, gathered, context);
    }

    fn known(&self, message: &Message) -> Known {
        match message {
            Message { again: false, .. } => Known::New,
            _ if planted!(RecordsAllThatComes) => Known::New,
            _ if planted!(DropsAllThatComesAgain) => Known::Recorded,
            _ if !self.is_resumed => Known::Unknown,
            _ => {
                let digest = digest_of(&message.topic, &message.payload);
                self.source.shared.lock().memory.known(message.packet, digest)
            }
        }
    }

    /// It became clear of all that was set aside, or that it will not.
    pub(super) fn settle_aside(&mut self, known: Known, gathered: &mut Gathered, context: &Context) {
        for message in self.aside.take() {
            self.settle(&message, known, gathered, context);
        }
    }

    /// What becomes of a message of which this is known.
    fn settle(&mut self, message: &Message, known: Known, gathered: &mut Gathered, context: &Context) {
        let is_acknowledged = message.service != Service::AtMostOnce;
        let mut owed = Owed {
            connection: self.connection,
            packet: message.packet,
            service: message.service,
            digest: None,
        };
        if let Some(layer) = &mut self.layer {
            layer.message(message, self.older > 0, &mut gathered.readings, context);
            if is_acknowledged {
                gathered.owed.push(owed);
            }
            return;
        }
        let streams = self.routes.of(&message.topic);
        let flags = if streams.is_empty() {
            context.health.messages(|figures| figures.unmatched(&message.topic));
            None
        } else {
            let digest = digest_of(&message.topic, &message.payload);
            let flags = self.flags(message, known, digest, context);
            owed.digest = flags.map(|_| digest);
            flags
        };
        if let Some(flags) = flags {
            let before = gathered.readings.len();
            self.read(message, &streams, flags, &mut gathered.readings, context);
            if let Some(digest) = owed.digest.filter(|_| is_acknowledged && gathered.readings.len() > before)
            {
                gathered.origins.push(Origin { source: self.source_number, packet: message.packet, digest });
            }
        }
        if is_acknowledged {
            gathered.owed.push(owed);
        }
    }

    /// The flags of its readings; `None`: it is not recorded again.
    fn flags(&mut self, message: &Message, known: Known, digest: [u8; 16], context: &Context) -> Option<u8> {
        let flags = match known {
            Known::New => 0,
            Known::Recorded => {
                context.health.messages(|figures| figures.repeats_dropped += 1);
                return None;
            }
            Known::Older | Known::Unknown => {
                context.health.messages(|figures| figures.possibly_repeated += 1);
                FLAG_POSSIBLY_REPEATED
            }
        };
        let has_room = self.last_of_topic.len() < TOPICS_MAX;
        match self.last_of_topic.get_mut(&message.topic) {
            Some(last) if message.retained && *last == digest => {
                context.health.messages(|figures| figures.retained_repeated += 1);
                return None;
            }
            Some(last) => *last = digest,
            None if has_room => {
                self.last_of_topic.insert(message.topic.clone(), digest);
            }
            None => {}
        }
        Some(flags)
    }

    fn read(
        &mut self,
        message: &Message,
        streams: &[usize],
        flags: u8,
        readings: &mut Readings,
        context: &Context,
    ) {
        let receive_time_ns = context.clock.wall_ns();
        let mut payload = Payload::new(&message.payload);
        for stream in streams {
            let picker = &self.source.pickers[*stream];
            let Some(mut decoded) = payload.value(picker) else {
                context.health.messages(|figures| figures.fields_missing += 1);
                continue;
            };
            let time = payload.time(picker);
            self.shows(*stream, message, &decoded.value);
            let doubt = match time {
                SourceTime::At(time) if !is_sane(time, receive_time_ns) => Some(status_code::ODD_TIME),
                SourceTime::At(_) => None,
                _ if message.retained => Some(status_code::RETAINED),
                SourceTime::None => None,
                SourceTime::Unreadable => Some(status_code::NO_TIME),
            };
            if let Some(doubt) = doubt.filter(|_| decoded.quality == Quality::Good) {
                (decoded.quality, decoded.status) = (Quality::Uncertain, doubt);
            }
            if decoded.status == status_code::UNDECODABLE {
                context.health.messages(|figures| figures.undecodable += 1);
                let stream = &self.source.streams[*stream].descriptor.name;
                say_undecodable(&mut self.last_line, &self.source.head.device, stream, message);
            }
            readings.push(NewReading {
                stream: context.streams[*stream],
                value: decoded.value,
                quality: decoded.quality,
                flags,
                status: decoded.status,
                source_time_ns: if let SourceTime::At(ns) = time { ns } else { receive_time_ns },
                receive_time_ns,
            });
        }
    }
}

/// At most a line a minute for each device; all are counted in its figures.
fn say_undecodable(last_line: &mut Option<Instant>, device: &str, stream: &str, message: &Message) {
    if last_line.is_some_and(|last| last.elapsed() < LINE_EVERY) {
        return;
    }
    *last_line = Some(Instant::now());
    let start = &message.payload[..message.payload.len().min(80)];
    // A text as a field is written in quotes and escaped: nobody forges a line or a colour.
    let payload = &*String::from_utf8_lossy(start);
    let topic = message.topic.as_str();
    tracing::warn!(
        device,
        topic,
        stream,
        payload,
        "a message does not hold what the configuration says; its reading is bad"
    );
}
