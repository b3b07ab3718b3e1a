//! Writes seeds, lists targets, and runs single inputs without a fuzzer. `make fuzz` uses it.

use blindfold_fuzz::{TARGETS, seeds, target};
use eyre::{Context as _, Result, bail};
use std::{env, fs, path::Path};

const USAGE: &str = "usage: blindfold-fuzz list
       blindfold-fuzz seeds CORPUS [ROWS DEVNET]   write seeds; with the rows and the folder of a devnet
       blindfold-fuzz run TARGET FILE..            run inputs, a panic is a finding";

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["list"] => TARGETS.iter().for_each(|target| println!("{}", target.name)),
        ["seeds", corpus, devnet @ ..] => {
            let mut seeds = seeds::made();
            match devnet {
                [] => {}
                [rows, files] => seeds::from_devnet(Path::new(rows), Path::new(files), &mut seeds)
                    .wrap_err_with(|| format!("cannot read {rows} and {files}"))?,
                _ => bail!("{USAGE}"),
            }
            let count = seeds.write(Path::new(corpus)).wrap_err("cannot write the seeds")?;
            println!("{count} seeds");
        }
        ["run", name, files @ ..] => {
            let Some(target) = target(name) else { bail!("no target {name}") };
            for file in files {
                let input = fs::read(file).wrap_err_with(|| format!("cannot read {file}"))?;
                let accepted = (target.run)(&input);
                println!("{file}: {}", if accepted { "accepted" } else { "refused" });
            }
        }
        _ => bail!("{USAGE}"),
    }
    Ok(())
}
