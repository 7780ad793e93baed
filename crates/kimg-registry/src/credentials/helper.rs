//! Docker's credential helpers: programs called `docker-credential-NAME` that are asked on their standard input.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::Credentials;
use crate::reference::DOCKER_HUB;
use crate::{RegistryError, Secret};

/// More than this no helper has to say: 64 KiB.
const MAX_ANSWER: u64 = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks a helper about a registry; `None` if it has nothing.
pub(super) async fn ask(
    name: &str,
    registry: &str,
    limit: Duration,
) -> Result<Option<Credentials>, RegistryError> {
    let program = format!("docker-credential-{name}");
    let error = |problem: &str| RegistryError::Helper {
        program: program.clone(),
        registry: registry.to_owned(),
        problem: problem.to_owned(),
    };
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return Err(error("it is no name of a helper"));
    }
    let server = if registry == DOCKER_HUB { "https://index.docker.io/v1/" } else { registry };
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|why| error(&why.to_string()))?;
    let talk = async {
        if let Some(mut stdin) = child.stdin.take() {
            // One that needs no input may be gone already.
            let _ = stdin.write_all(format!("{server}\n").as_bytes()).await;
        }
        let mut said = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(MAX_ANSWER).read_to_end(&mut said).await?;
        }
        Ok::<_, std::io::Error>((child.wait().await?, said))
    };
    let (status, said) = tokio::time::timeout(limit, talk)
        .await
        .map_err(|_| error(&format!("it did not answer within {} s", limit.as_secs_f32())))?
        .map_err(|why| error(&why.to_string()))?;
    if !status.success() {
        // What `docker-credential-helpers` says, on standard output, when there is nothing for a registry.
        let nothing = String::from_utf8_lossy(&said).contains("credentials not found");
        return if nothing { Ok(None) } else { Err(error(&status.to_string())) };
    }
    let answer: Answer =
        serde_json::from_slice(&said).map_err(|_| error("its answer is not the JSON it should be"))?;
    let secret = Secret::new(answer.secret);
    Ok(match answer.username.as_str() {
        _ if secret.is_empty() => None,
        "<token>" => Some(Credentials::IdentityToken(secret)),
        _ => Some(Credentials::Basic { username: answer.username, password: secret }),
    })
}
