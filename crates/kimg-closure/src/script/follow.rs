//! From a script to its interpreter, as far as Linux follows, and to the command behind `env`.

use kimg_core::ImagePath;
use kimg_core::variant::COMMAND_PATH;

use super::Script;
use crate::error::Problem;
use crate::facts::FileFacts;
use crate::lookup::{Landing, find};
use crate::walk::Walk;
use crate::{ClosureError, Found, Reason};

/// Linux follows a script whose interpreter is a script this often (`fs/exec.c`, `exec_binprm`).
const MAX_SCRIPTS: usize = 5;

impl Walk<'_> {
    pub(crate) fn is_executable(&self, path: &ImagePath) -> bool {
        matches!(self.request.tree.look(path), Some(Found::File { executable: true, .. }))
    }

    pub(crate) fn script(&mut self, path: &ImagePath, script: &Script) -> Result<(), ClosureError> {
        self.script_chain(path)?;
        let interpreter = script.interpreter.clone();
        if !interpreter.starts_with('/') {
            return Err(
                self.error(path, Problem::ScriptInterpreterRelative { script: path.clone(), interpreter })
            );
        }
        let of = path.clone();
        match find(self.request.tree, &interpreter) {
            Ok(landings) => {
                let program = self.arrive(&landings, Reason::Script { of });
                self.want_file(path, &program)?;
                self.later(program);
            }
            Err(source) => {
                let (script, asked) = (path.clone(), interpreter.clone());
                let problem = Problem::ScriptInterpreterMissing { script, interpreter: asked, source };
                let error = self.error(path, problem);
                self.unmet(Reason::Script { of }, interpreter, error)?;
            }
        }

        let Some(command) = script.env_command() else { return Ok(()) };
        let reason = Reason::Command { of: path.clone() };
        if let Some(landings) = self.command(command) {
            let program = self.arrive(&landings, reason);
            self.later(program);
            return Ok(());
        }
        let (script, command) = (path.clone(), command.to_owned());
        let error = self.error(path, Problem::CommandMissing { script, command: command.clone() });
        self.unmet(reason, command, error)
    }

    /// Follows interpreters that are scripts as far as Linux does.
    fn script_chain(&mut self, first: &ImagePath) -> Result<(), ClosureError> {
        let mut scripts = vec![first.clone()];
        let mut here = first.clone();
        while let Some(FileFacts::Script(script)) = self.facts(&here)?.as_deref() {
            let Some(next) = find(self.request.tree, &script.interpreter).ok().and_then(|mut l| l.pop())
            else {
                break;
            };
            here = next.at;
            if scripts.contains(&here) || scripts.len() > MAX_SCRIPTS {
                scripts.push(here);
                return Err(self.error(first, Problem::ScriptLoop { scripts }));
            }
            scripts.push(here.clone());
        }
        Ok(())
    }

    fn command(&self, command: &str) -> Option<Vec<Landing>> {
        if command.starts_with('/') {
            return find(self.request.tree, command).ok();
        }
        COMMAND_PATH.iter().find_map(|folder| {
            let landings = find(self.request.tree, &format!("{folder}/{command}")).ok()?;
            let at = &landings.last()?.at;
            self.is_executable(at).then_some(landings)
        })
    }
}
