//! Answers that are wrong, or none at all.

use std::io::BufRead;

use kimg_core::Digest;

use super::peer::State;
use super::routes::{respond, rest};
use super::script::Misbehaviour;
use super::wire::{Answer, Body, Carried, Head};
use crate::server::locked;

/// The answer to a request, wrong or not; `None` where the connection ends instead.
pub(super) fn answer<R: BufRead>(
    state: &State,
    head: &Head,
    body: &mut Body<'_, R>,
    fault: Option<&Misbehaviour>,
) -> Option<Answer> {
    use Misbehaviour::{
        ForeignRealm, Forget, LostAnswer, Overlook, Redirect, Reset, ResetMidway, Revoke, Stall, StallMidway,
        Status, Tattle,
    };
    let felt = || locked(&state.script).felt += 1;
    match fault {
        Some(Reset) => {
            felt();
            return None;
        }
        Some(Stall) => {
            felt();
            state.hold();
            return None;
        }
        Some(Status(status, headers)) => {
            felt();
            rest(body)?;
            let answer = Answer::error(*status, "UNAVAILABLE", "not now");
            return Some(headers.iter().fold(answer, |answer, (name, value)| answer.with(name, value)));
        }
        Some(Redirect(to)) => {
            felt();
            rest(body)?;
            return Some(Answer::new(307).with("Location", to));
        }
        Some(ForeignRealm(realm)) => {
            felt();
            rest(body)?;
            let challenge = format!(r#"Bearer realm="{realm}",service="peer""#);
            return Some(
                Answer::error(401, "UNAUTHORIZED", "over there").with("WWW-Authenticate", challenge),
            );
        }
        Some(Tattle) => {
            felt();
            rest(body)?;
            let said = head.header("authorization").unwrap_or_default();
            return Some(Answer::error(400, "NAME_INVALID", &format!("you sent {said}")));
        }
        Some(Overlook) if head.method == "PUT" && head.path.contains("/manifests/") => {
            felt();
            rest(body)?;
            return Some(Answer::error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"));
        }
        Some(Revoke) => {
            felt();
            locked(&state.guard).revoke();
        }
        Some(Forget) => {
            let name = head.path.rsplit('/').next().unwrap_or_default();
            if locked(&state.uploads).take(name).is_some() {
                felt();
            }
        }
        _ => {}
    }
    let answer = respond(state, head, body, fault);
    match (fault, answer) {
        (Some(ResetMidway | StallMidway), answer) => {
            felt();
            if fault == Some(&StallMidway) {
                state.hold();
            }
            let _ = answer;
            None
        }
        (Some(LostAnswer), _) => {
            felt();
            None
        }
        (Some(fault), Some(mut answer)) => {
            if spoil(&mut answer, fault) {
                felt();
            }
            Some(answer)
        }
        (_, answer) => answer,
    }
}

/// Makes an answer wrong; gives whether it is another now.
fn spoil(answer: &mut Answer, fault: &Misbehaviour) -> bool {
    match fault {
        Misbehaviour::WrongRange => {
            let end = answer.header("range").and_then(|range| range.strip_prefix("0-")?.parse::<u64>().ok());
            end.filter(|end| *end > 0).is_some_and(|end| answer.replace("Range", format!("0-{}", end - 1)))
        }
        Misbehaviour::WrongDigest => answer.replace("Docker-Content-Digest", Digest::of("something else")),
        Misbehaviour::ForeignLocation(to) => answer.replace("Location", to),
        Misbehaviour::Flip => match &mut answer.body {
            Carried::Bytes(bytes) if !bytes.is_empty() => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                true
            }
            _ => false,
        },
        Misbehaviour::Cut | Misbehaviour::Drip(_) => answer.length() > 0,
        Misbehaviour::NoMount => answer.status == 202,
        Misbehaviour::NoReferrers => answer.status == 404,
        _ => false,
    }
}
