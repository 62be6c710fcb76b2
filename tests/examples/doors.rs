//! What each module of each package names, as the lists of the tidy test have it; with `--write`
//! the lists in `tests/src/tidy/allowed/` and the drawing in `gateway/src/lib.rs` are written anew.

use tidegate_tests::tidy::{self, door, drawing};

fn main() -> std::io::Result<()> {
    let root = tidy::root();
    let is_written = std::env::args().any(|argument| argument == "--write");
    for package in tidy::packages() {
        let text = door::print(&package.folder, &door::present(&package));
        if is_written {
            std::fs::write(door::list_path(&root, &package), text)?;
        } else {
            println!("{text}");
        }
        if package.folder == "gateway" {
            let picture = drawing::draw(&root, &package);
            let lib = root.join("gateway/src/lib.rs");
            let before = std::fs::read_to_string(&lib)?;
            match drawing::drawn(&before) {
                Some(old) if is_written => std::fs::write(&lib, before.replace(old, &picture))?,
                Some(_) => println!("{picture}\n"),
                None => println!("{} has no room for a drawing", lib.display()),
            }
        }
    }
    Ok(())
}
