//! `kimg variants`

use std::process::ExitCode;

use kimg_build::Project;
use kimg_core::variant;
use kimg_report::{Column, Table};
use serde_json::json;

use crate::args::VariantsArgs;
use crate::commands::setting::settings;
use crate::failure::Failure;
use crate::terminal;

pub(crate) fn run(args: &VariantsArgs) -> Result<ExitCode, Failure> {
    let (settings, folder, _) = settings(args.config.as_deref())?;
    let known = Project::known_variants(&settings, &folder)?;
    let mut table = Table::new([
        Column::left("Variant"),
        Column::left("Image"),
        Column::left("Tag"),
        Column::left("Layers"),
        Column::left("What is in it"),
    ]);
    let mut data = Vec::new();
    for name in &known.order {
        let variant = variant::resolve(name, &known.written).map_err(kimg_build::BuildError::from)?;
        let layers: Vec<_> = variant.layers.iter().map(|l| l.name.as_str()).collect();
        let tag = variant.tag_suffix.as_deref().map_or_else(|| "v1.x.y".into(), |s| format!("v1.x.y-{s}"));
        table.row(vec![
            variant.name.clone(),
            variant.image.clone(),
            tag,
            layers.join(" + "),
            variant.description.clone(),
        ]);
        data.push(json!({
            "name": variant.name, "image": variant.image, "description": variant.description,
            "tag_suffix": variant.tag_suffix, "layers": variant.layers,
            "roots": variant.roots.iter().map(|r| json!({
                "name": r.name(), "reason": r.reason, "layer": r.layer, "optional": r.optional, "daemon": r.daemon,
            })).collect::<Vec<_>>(),
        }));
    }
    terminal::print(&table, &data, args.format)?;
    Ok(ExitCode::SUCCESS)
}
