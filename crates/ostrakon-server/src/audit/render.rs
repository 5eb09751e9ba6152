//! Records as others read them: a line for people, an object of JSON, an event of CEF.

use std::fmt::Write as _;

use jiff::Timestamp;
use ostrakon_custody::AuditEvent;
use ostrakon_storage::Durability;
use ostrakon_types::{Decision, Denial, UnixMillis};
use serde_json::{Map, Value, json};

use super::AuditEntry;

impl AuditEntry {
    /// One line for people, without its end. It shows paths.
    #[must_use]
    pub fn to_line(&self) -> String {
        let fields = self.to_json();
        let mut line = format!("{} {:>6}  ", time(self.record.at), self.sequence);
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
        match &self.record.event {
            AuditEvent::Decided { item, meta, .. } => {
                let _ = write!(line, "{} {}", text("decision"), text("kind"));
                for path in meta {
                    let _ = write!(line, " {:?}", path.meta);
                }
                let _ = write!(
                    line,
                    " for {} (request {}, item {item})",
                    text("profile"),
                    text("request")
                );
                if let Some(reason) = fields.get("reason").and_then(Value::as_str) {
                    let _ = write!(line, ": {reason}");
                }
                if fields.contains_key("durability") {
                    line += ", without a durable replica";
                }
            }
            _ => {
                line += text("event");
                for (name, value) in &fields {
                    if ["event", "at", "sequence", "instance"].contains(&name.as_str()) {
                        continue;
                    }
                    match value {
                        Value::String(text) => {
                            let _ = write!(line, " {name}={text:?}");
                        }
                        value => {
                            let _ = write!(line, " {name}={value}");
                        }
                    }
                }
            }
        }
        line
    }

    /// An object of JSON. It shows paths.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| {
            if !value.is_null() {
                fields.insert(name.to_owned(), value);
            }
        };
        put("at", json!(time(self.record.at)));
        put("instance", json!(self.instance));
        put("sequence", json!(self.sequence));
        if self.record.durability == Some(Durability::Local) {
            put("durability", json!("local"));
        }
        match &self.record.event {
            AuditEvent::Decided {
                profile,
                device,
                request,
                item,
                kind,
                cryptographic_id,
                meta,
                decision,
                explanation,
                charged,
                head,
            } => {
                put("event", json!("decided"));
                put("profile", json!(profile));
                put("device", json!(device));
                put("request", json!(request));
                put("item", json!(item));
                put("kind", json!(kind));
                put("file", json!(cryptographic_id));
                let paths: Vec<_> = meta.iter().map(|meta| &meta.meta).collect();
                put("paths", json!(paths));
                match decision {
                    Decision::Approve { rule_set } => {
                        put("decision", json!("approved"));
                        put("rule_set", json!(rule_set));
                    }
                    Decision::Deny { denial } => {
                        put("decision", json!("denied"));
                        put("reason", json!(reason(denial)));
                        put("resets_at", json!(resets_at(denial).map(time)));
                    }
                }
                put("explanation", json!(explanation));
                let rules = charged.iter().flatten().map(|charged| &charged.rule_id);
                let rules: Vec<_> = rules.collect();
                if !rules.is_empty() {
                    put("charged", json!(rules));
                }
                put("version", json!(head.map(|head| head.number)));
            }
            AuditEvent::Unreleased {
                profile,
                device,
                request,
                item,
            } => {
                put("event", json!("unreleased"));
                put("profile", json!(profile));
                put("device", json!(device));
                put("request", json!(request));
                put("item", json!(item));
            }
            AuditEvent::Refused {
                device,
                profile,
                request,
                reason,
            } => {
                put("event", json!("refused"));
                put("profile", json!(profile));
                put("device", json!(device));
                put("request", json!(request));
                put("reason", json!(reason));
            }
            AuditEvent::Strangers { since, tallies } => {
                put("event", json!("turned_away"));
                put("since", json!(time(*since)));
                let counts: Map<String, Value> = tallies
                    .iter()
                    .map(|tally| (tally.reason.clone(), json!(tally.count)))
                    .collect();
                put("counts", Value::Object(counts));
            }
            AuditEvent::Administered { action, detail } => {
                put("event", json!("administered"));
                put("action", json!(action));
                if !detail.is_empty() {
                    put("detail", json!(detail));
                }
            }
            AuditEvent::QuotaCleared {
                profile,
                counters,
                by,
            } => {
                put("event", json!("quota_cleared"));
                put("profile", json!(profile));
                put("counters", json!(counters));
                if let Some(by) = by {
                    put("by", json!(by));
                }
            }
            AuditEvent::PolicyLoaded {
                version,
                time_zone,
                source,
                by,
            } => {
                put("event", json!("policy_loaded"));
                put("version", json!(version));
                put("time_zone", json!(time_zone));
                put("sha256", json!(source));
                if let Some(by) = by {
                    put("by", json!(by));
                }
            }
            AuditEvent::Broken {
                instance,
                expected,
                found,
                witness,
                ..
            } => {
                put("event", json!("chain_broken"));
                put("chain", json!(instance.to_string()));
                put("expected", json!(expected));
                put("found", json!(found));
                put("witness", json!(witness));
            }
            AuditEvent::Archived {
                number,
                checkpoint,
                records,
                manifest,
            } => {
                put("event", json!("archived"));
                put("archive", json!(number));
                put("checkpoint", json!(checkpoint));
                put("records", json!(records));
                put("sha256", json!(manifest));
            }
            AuditEvent::Ceremony {
                profile,
                ceremony,
                device,
                step,
            } => {
                put("event", json!("ceremony"));
                put("profile", json!(profile));
                put("device", json!(device));
                put("ceremony", json!(ceremony));
                put("step", json!(step));
            }
            AuditEvent::ProfileShown { profile, head } => {
                put("event", json!("profile_shown"));
                put("profile", json!(profile));
                put("version", json!(head.number));
            }
            _ => put("event", json!("unknown")),
        }
        fields
    }

    /// An event in ArcSight's Common Event Format, version 0, in one line without its end. It shows paths.
    #[must_use]
    pub fn to_cef(&self) -> String {
        let mut fields = self.to_json();
        let event = fields.remove("event");
        let event = event.as_ref().and_then(Value::as_str).unwrap_or_default();
        let denied = fields.get("decision").and_then(Value::as_str) == Some("denied");
        let severity = match event {
            "chain_broken" => 10,
            "quota_cleared" | "unreleased" => 6,
            "refused" | "turned_away" => 4,
            _ if denied => 4,
            _ => 1,
        };
        let mut line = format!(
            "CEF:0|Ostrakon|keyserver|{}|{}|{}|{severity}|",
            cef_header(env!("CARGO_PKG_VERSION")),
            cef_header(event),
            cef_header(&event.replace('_', " "))
        );
        let _ = write!(line, "rt={}", self.record.at);
        fields.remove("at");
        for (name, value) in fields {
            let key = match name.as_str() {
                "instance" => "deviceExternalId",
                "sequence" => "externalId",
                "decision" => "outcome",
                "kind" | "action" => "act",
                "paths" => "filePath",
                "file" => "fileId",
                "profile" => "duid",
                "device" => "sourceDeviceId",
                other => other,
            };
            let text = match value {
                Value::String(text) => text,
                Value::Array(all) => {
                    let texts = all.iter().map(|one| match one {
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    });
                    texts.collect::<Vec<_>>().join(", ")
                }
                other => other.to_string(),
            };
            let _ = write!(line, " {}={}", camel(key), cef_value(&text));
        }
        line
    }
}

/// A field of the header: `|` and `\` are escaped, and there is no line break in it.
fn cef_header(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('|', "\\|");
    text.replace(['\n', '\r'], " ")
}

/// A value of the extension: `=` and `\` are escaped, and line breaks are written as `\n` and `\r`.
fn cef_value(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('=', "\\=");
    text.replace('\n', "\\n").replace('\r', "\\r")
}

/// Keys of an extension are letters and digits.
fn camel(key: &str) -> String {
    let mut words = key.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.extend(letters);
    }
    name
}

fn reason(denial: &Denial) -> &'static str {
    match denial {
        Denial::Policy => "policy",
        Denial::Quota { .. } => "quota",
        Denial::Disabled => "disabled",
        Denial::Conflict => "conflict",
        Denial::ServerLimit { .. } => "server_limit",
        _ => "unknown",
    }
}

fn resets_at(denial: &Denial) -> Option<UnixMillis> {
    match denial {
        Denial::Quota { resets_at } | Denial::ServerLimit { resets_at } => Some(*resets_at),
        _ => None,
    }
}

/// A time in the form of RFC 3339, in UTC.
pub(crate) fn time(at: UnixMillis) -> String {
    match Timestamp::from_millisecond(at.0) {
        Ok(at) => format!("{at:.3}"),
        Err(_) => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use ostrakon_custody::{AuditRecord, Tally};
    use ostrakon_types::{DeviceId, MetaItem, ProfileId, RequestId, RequestKind};

    use super::*;

    fn entry(event: AuditEvent) -> AuditEntry {
        AuditEntry {
            instance: "07".repeat(16),
            sequence: 17,
            record: AuditRecord::new(UnixMillis(1_772_000_000_123), event),
        }
    }

    fn decided(path: &str) -> AuditEntry {
        entry(AuditEvent::Decided {
            profile: ProfileId::from_bytes([1; 16]),
            device: DeviceId::from_bytes([2; 16]),
            request: RequestId::from_bytes([3; 16]),
            item: 4,
            kind: RequestKind::Decrypt,
            cryptographic_id: None,
            meta: vec![MetaItem {
                meta: path.into(),
                complete: true,
            }],
            decision: Decision::Deny {
                denial: Denial::Quota {
                    resets_at: UnixMillis(1_772_000_001_000),
                },
            },
            explanation: Some("a\nb".into()),
            charged: None,
            head: None,
        })
    }

    #[test]
    fn a_record_in_json_has_every_field_and_times_for_people() {
        let json = Value::Object(decided("a/b").to_json());
        assert_eq!(
            json,
            json!({
                "at": "2026-02-25T06:13:20.123Z", "instance": "07".repeat(16), "sequence": 17,
                "event": "decided", "profile": "01".repeat(16), "device": "02".repeat(16),
                "request": "03".repeat(16), "item": 4, "kind": "decrypt", "paths": ["a/b"],
                "decision": "denied", "reason": "quota", "resets_at": "2026-02-25T06:13:21.000Z",
                "explanation": "a\nb",
            })
        );
    }

    #[test]
    fn nothing_in_a_record_breaks_out_of_its_field_in_cef() {
        let hostile = "a|b\\c=d\ne\rf act=approved CEF:0|x";
        let line = decided(hostile).to_cef();
        assert!(!line.contains('\n') && !line.contains('\r'), "{line}");
        assert!(line.starts_with("CEF:0|Ostrakon|keyserver|"), "{line}");
        let escaped = "filePath=a|b\\\\c\\=d\\ne\\rf act\\=approved CEF:0|x";
        assert!(line.contains(escaped), "{line}");
        assert!(line.contains(" outcome=denied") && line.contains("|decided|decided|4|rt="));
        assert!(
            line.contains("explanation=a\\nb") && line.contains(" resetsAt="),
            "{line}"
        );
        assert_eq!(cef_header("a|b\\c\nd"), "a\\|b\\\\c d");
    }

    #[test]
    fn each_kind_of_record_has_a_line_and_a_name() {
        let administered = |detail: &str| AuditEvent::Administered {
            action: "stop".into(),
            detail: detail.into(),
        };
        let strangers = AuditEvent::Strangers {
            since: UnixMillis(0),
            tallies: vec![Tally {
                reason: "unknown device".into(),
                count: 3,
            }],
        };
        let line = entry(administered("now")).to_line();
        assert!(
            line.ends_with("    17  administered action=\"stop\" detail=\"now\""),
            "{line}"
        );
        let line = entry(strangers).to_line();
        assert!(
            line.contains("turned_away counts={\"unknown device\":3}"),
            "{line}"
        );
        let line = decided("a\nb").to_line();
        assert!(line.contains("denied decrypt \"a\\nb\" for 0101"), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
}
