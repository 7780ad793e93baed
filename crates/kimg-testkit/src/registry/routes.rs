//! Which request does what (OCI distribution-spec 1.1, "Endpoints").

use std::io::{BufRead, Read};

use kimg_core::Digest;
use serde_json::{Value, json};

use super::peer::State;
use super::script::Misbehaviour;
use super::store::{Content, Manifest};
use super::uploads::Upload;
use super::wire::{Answer, Body, Carried, Head};
use crate::server::locked;

/// What a path below `/v2/` names.
enum Route<'a> {
    Uploads(&'a str),
    Upload(&'a str, &'a str),
    Blob(&'a str, Digest),
    Manifest(&'a str, &'a str),
    Tags(&'a str),
    Referrers(&'a str, Digest),
}

fn route(path: &str) -> Option<Route<'_>> {
    let path = path.strip_prefix("/v2/")?;
    if let Some((repository, name)) = path.rsplit_once("/blobs/uploads/") {
        return Some(if name.is_empty() {
            Route::Uploads(repository)
        } else {
            Route::Upload(repository, name)
        });
    }
    if let Some((repository, digest)) = path.rsplit_once("/blobs/") {
        return Some(Route::Blob(repository, digest.parse().ok()?));
    }
    if let Some((repository, name)) = path.rsplit_once("/manifests/") {
        return Some(Route::Manifest(repository, name));
    }
    if let Some((repository, digest)) = path.rsplit_once("/referrers/") {
        return Some(Route::Referrers(repository, digest.parse().ok()?));
    }
    path.strip_suffix("/tags/list").map(Route::Tags)
}

/// How a request goes on after its body was read.
pub(super) type Outcome = Option<Answer>;

/// Does what a request asks for. `None` where the connection ended in the middle.
pub(super) fn respond<R: BufRead>(
    state: &State,
    head: &Head,
    body: &mut Body<'_, R>,
    fault: Option<&Misbehaviour>,
) -> Outcome {
    if head.path == "/token" {
        return Some(locked(&state.guard).issue(head, &rest(body)?));
    }
    let method = head.method.as_str();
    let realm = state.realm();
    if head.path == "/v2/" {
        let checked = locked(&state.guard).check(head, &realm, "", "");
        return Some(checked.err().unwrap_or_else(|| Answer::new(200)));
    }
    let Some(route) = route(&head.path) else {
        return Some(Answer::error(404, "NAME_UNKNOWN", "no such address"));
    };
    let (Route::Uploads(repository)
    | Route::Upload(repository, _)
    | Route::Blob(repository, _)
    | Route::Manifest(repository, _)
    | Route::Tags(repository)
    | Route::Referrers(repository, _)) = route;
    let action = if matches!(method, "GET" | "HEAD") { "pull" } else { "pull,push" };
    let checked = locked(&state.guard).check(head, &realm, repository, action);
    if let Err(refusal) = checked {
        rest(body)?;
        return Some(refusal);
    }
    match (method, route) {
        ("POST", Route::Uploads(repository)) => Some(begin(state, head, repository, fault)),
        ("GET", Route::Upload(repository, name)) => Some(progress(state, repository, name)),
        ("PATCH", Route::Upload(repository, name)) => patch(state, head, body, (repository, name), fault),
        ("PUT", Route::Upload(repository, name)) => close(state, head, body, (repository, name), fault),
        ("GET" | "HEAD", Route::Blob(repository, digest)) => Some(blob(state, head, repository, digest)),
        ("PUT", Route::Manifest(repository, name)) => put_manifest(state, head, body, repository, name),
        ("GET" | "HEAD", Route::Manifest(repository, name)) => Some(manifest(state, repository, name)),
        ("GET", Route::Tags(repository)) => Some(tags(state, head, repository)),
        ("GET", Route::Referrers(repository, digest)) => Some(referrers(state, repository, digest, fault)),
        _ => Some(Answer::error(405, "UNSUPPORTED", "no such method here")),
    }
}

/// What is left of a body; `None` where it ends early.
pub(super) fn rest<R: BufRead>(body: &mut Body<'_, R>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn upload_answer(status: u16, repository: &str, name: &str, size: u64) -> Answer {
    Answer::new(status)
        .with("Location", format!("/v2/{repository}/blobs/uploads/{name}?_state=a%2Fb%3D"))
        .with("Range", format!("0-{}", size.saturating_sub(1)))
        .with("Docker-Upload-UUID", name)
}

fn begin(state: &State, head: &Head, repository: &str, fault: Option<&Misbehaviour>) -> Answer {
    if let (Some(digest), Some(source)) = (head.query("mount"), head.query("from")) {
        let said = head.header("authorization").unwrap_or_default();
        let allowed = locked(&state.guard).has(said, source, "pull");
        let mut store = locked(&state.store);
        let content = digest.parse().ok().and_then(|it| Some((it, store.blob(source, it)?.clone())));
        if let Some((digest, content)) = content
            && allowed
            && state.setup.mounts
            && fault != Some(&Misbehaviour::NoMount)
        {
            store.put_blob(repository, digest, content);
            return Answer::new(201)
                .with("Location", format!("/v2/{repository}/blobs/{digest}"))
                .with("Docker-Content-Digest", digest);
        }
    }
    let name = locked(&state.uploads).begin(repository);
    let answer = upload_answer(202, repository, &name, 0);
    match state.setup.smallest_chunk {
        0 => answer,
        smallest => answer.with("OCI-Chunk-Min-Length", smallest),
    }
}

fn unknown() -> Answer {
    Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload")
}

fn progress(state: &State, repository: &str, name: &str) -> Answer {
    match locked(&state.uploads).size(name) {
        Some(size) => upload_answer(204, repository, name, size),
        None => unknown(),
    }
}

/// Where a body is not read on, if that is what goes wrong.
fn midway(head: &Head, fault: Option<&Misbehaviour>) -> Option<u64> {
    let half = matches!(fault, Some(Misbehaviour::ResetMidway | Misbehaviour::StallMidway));
    half.then(|| head.length() / 2)
}

/// An upload that has begun in this repository. Who goes on with it puts it back.
fn taken(state: &State, repository: &str, name: &str) -> Option<Upload> {
    locked(&state.uploads).take(name).filter(|upload| upload.repository == repository)
}

fn patch<R: BufRead>(
    state: &State,
    head: &Head,
    body: &mut Body<'_, R>,
    (repository, name): (&str, &str),
    fault: Option<&Misbehaviour>,
) -> Outcome {
    let Some(mut upload) = taken(state, repository, name) else {
        rest(body)?;
        return Some(unknown());
    };
    upload.chunks += 1;
    if upload.chunks > state.setup.chunks {
        rest(body)?;
        return Some(Answer::error(405, "UNSUPPORTED", "no chunks"));
    }
    let begin = head.header("content-range").and_then(|range| range.split_once('-')?.0.parse::<u64>().ok());
    let in_order = begin.is_none_or(|begin| begin == upload.size);
    let whole = if in_order {
        upload.receive(body, midway(head, fault)).is_ok() && midway(head, fault).is_none()
    } else {
        rest(body)?;
        true
    };
    let size = upload.size;
    if whole || state.setup.keeps_partial {
        locked(&state.uploads).put_back(name, upload);
    }
    whole.then(|| upload_answer(if in_order { 202 } else { 416 }, repository, name, size))
}

fn close<R: BufRead>(
    state: &State,
    head: &Head,
    body: &mut Body<'_, R>,
    (repository, name): (&str, &str),
    fault: Option<&Misbehaviour>,
) -> Outcome {
    let Some(mut upload) = taken(state, repository, name) else {
        rest(body)?;
        return Some(unknown());
    };
    let received = upload.receive(body, midway(head, fault));
    if received.is_err() || midway(head, fault).is_some() {
        if state.setup.keeps_partial {
            locked(&state.uploads).put_back(name, upload);
        }
        return None;
    }
    let wanted = head.query("digest").and_then(|text| text.parse::<Digest>().ok());
    let (content, digest) = upload.finish();
    if wanted != Some(digest) {
        return Some(Answer::error(400, "DIGEST_INVALID", "the bytes have another digest"));
    }
    let mut store = locked(&state.store);
    *store.came.entry(digest).or_default() += 1;
    store.put_blob(repository, digest, content);
    let answer = Answer::new(201).with("Location", format!("/v2/{repository}/blobs/{digest}"));
    Some(answer.with("Docker-Content-Digest", digest))
}

fn blob(state: &State, head: &Head, repository: &str, digest: Digest) -> Answer {
    let content = locked(&state.store).blob(repository, digest).cloned();
    let Some(content) = content else { return Answer::error(404, "BLOB_UNKNOWN", "no such blob") };
    let total = content.len();
    let from =
        head.header("range").and_then(|it| it.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<u64>().ok());
    let from = from.filter(|from| *from < total && state.setup.parts);
    let begin = from.unwrap_or(0);
    let carried = match content {
        Content::Memory(bytes) => Carried::Bytes(bytes[usize::try_from(begin).unwrap_or(0)..].to_vec()),
        Content::File(file, length) => {
            use std::io::Seek as _;
            let mut file = fs_err::File::open(file.path()).expect("the blob's file is there");
            file.seek(std::io::SeekFrom::Start(begin)).expect("a file can be sought in");
            Carried::File(file, length - begin)
        }
    };
    let mut answer = Answer::new(if from.is_some() { 206 } else { 200 });
    answer.body = carried;
    if from.is_some() {
        answer = answer.with("Content-Range", format!("bytes {begin}-{}/{total}", total - 1));
    }
    answer.with("Content-Type", "application/octet-stream").with("Docker-Content-Digest", digest)
}

fn put_manifest<R: BufRead>(
    state: &State,
    head: &Head,
    body: &mut Body<'_, R>,
    repository: &str,
    name: &str,
) -> Outcome {
    let bytes = rest(body)?;
    let Ok(value) = serde_json::from_slice::<Value>(&bytes) else {
        return Some(Answer::error(400, "MANIFEST_INVALID", "it is no JSON"));
    };
    let digest = Digest::of(&bytes);
    if name.parse::<Digest>().is_ok_and(|name| name != digest) {
        return Some(Answer::error(400, "DIGEST_INVALID", "the bytes have another digest"));
    }
    let media_type = head.header("content-type").unwrap_or_default().to_owned();
    locked(&state.store).put_manifest(repository, name, Manifest { media_type, bytes });
    let answer = Answer::new(201).with("Location", format!("/v2/{repository}/manifests/{digest}"));
    let answer = answer.with("Docker-Content-Digest", digest);
    Some(match value["subject"]["digest"].as_str() {
        Some(subject) if state.setup.referrers => answer.with("OCI-Subject", subject),
        _ => answer,
    })
}

fn manifest(state: &State, repository: &str, name: &str) -> Answer {
    match locked(&state.store).manifest(repository, name) {
        Some((digest, manifest)) => {
            let mut answer = Answer::new(200);
            answer.body = Carried::Bytes(manifest.bytes.clone());
            answer.with("Content-Type", &manifest.media_type).with("Docker-Content-Digest", digest)
        }
        None => Answer::error(404, "MANIFEST_UNKNOWN", "no such manifest"),
    }
}

fn tags(state: &State, head: &Head, repository: &str) -> Answer {
    let store = locked(&state.store);
    let after = head.query("last").unwrap_or_default();
    let tags: Vec<&str> =
        store.tags(repository).into_iter().map(|(tag, _)| tag).filter(|tag| *tag > after).collect();
    let page: Vec<&str> = tags.iter().copied().take(state.setup.page).collect();
    let answer = Answer::new(200).json(&json!({ "name": repository, "tags": page }));
    match page.last() {
        Some(last) if tags.len() > page.len() => {
            answer.with("Link", format!("</v2/{repository}/tags/list?last={last}>; rel=\"next\""))
        }
        _ => answer,
    }
}

fn referrers(state: &State, repository: &str, digest: Digest, fault: Option<&Misbehaviour>) -> Answer {
    if !state.setup.referrers || fault == Some(&Misbehaviour::NoReferrers) {
        return Answer::error(404, "UNSUPPORTED", "no such address");
    }
    let store = locked(&state.store);
    let manifests: Vec<Value> = store
        .referrers(repository, digest)
        .into_iter()
        .map(|(digest, manifest, value)| {
            let kind = value.get("artifactType").or_else(|| value["config"].get("mediaType")).cloned();
            json!({
                "mediaType": manifest.media_type,
                "digest": digest.to_string(),
                "size": manifest.bytes.len(),
                "artifactType": kind,
                "annotations": value.get("annotations").cloned().unwrap_or_else(|| json!({})),
            })
        })
        .collect();
    let index = "application/vnd.oci.image.index.v1+json";
    let mut answer =
        Answer::new(200).json(&json!({ "schemaVersion": 2, "mediaType": index, "manifests": manifests }));
    answer.replace("Content-Type", index);
    answer
}
