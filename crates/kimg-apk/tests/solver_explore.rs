//! temporary
use kimg_apk::*;
use std::io::Read;
use std::sync::Arc;
use std::time::Instant;
fn text(path: &str) -> Vec<u8> {
    let data = std::process::Command::new("tar").args(["-xzOf", path, "APKINDEX"]).output().unwrap();
    data.stdout
}
#[test]
fn explore() {
    let mut worlds = String::new();
    std::fs::File::open(std::env::var("WORLDS").unwrap()).unwrap().read_to_string(&mut worlds).unwrap();
    let paths = std::env::var("INDEXES").unwrap();
    let mut repos = vec![];
    for p in paths.split(' ') {
        let t = text(p);
        let now = Instant::now();
        let index = Index::parse(&t, &Limits::default()).unwrap();
        println!(
            "# parse {p} {:?} {} packages, unusable {:?}",
            now.elapsed(),
            index.packages.len(),
            index.unusable
        );
        repos.push(Repository { name: p.into(), tag: None, index: Arc::new(index) });
    }
    let now = Instant::now();
    let solver = Solver::for_arch(&repos, "x86_64");
    println!("# universe {:?}", now.elapsed());
    for line in worlds.lines() {
        let world: Vec<Dependency> = line.split_whitespace().map(|w| w.parse().unwrap()).collect();
        let now = Instant::now();
        let s = solver.solve(&world, &[]);
        let e = now.elapsed();
        match s {
            Ok(s) => println!(
                "{line}\t{}\t# {e:?}",
                s.packages.iter().map(|c| c.record.id()).collect::<Vec<_>>().join(" ")
            ),
            Err(err) => println!("{line}\tERROR\t# {e:?} {}", err.to_string().replace('\n', " / ")),
        }
    }
}
