//! Volumes of a test's own: an ext4 in a file, whose power can be cut, and a small one in memory, which can be filled.
//! Mounting needs root; `scripts/setup.sh volumes` says whether it works here.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::clients::{command, must};

/// A mounted file system; unmounted when dropped.
#[derive(Debug)]
pub struct Volume {
    folder: TempDir,
    image: Option<PathBuf>,
}

impl Volume {
    fn folder() -> TempDir {
        let folder = tempfile::Builder::new().prefix("transship-volume-").tempdir();
        let folder = folder.expect("a temporary folder can be made");
        std::fs::create_dir(folder.path().join("mounted")).expect("the folder is writable");
        folder
    }

    /// An ext4 of so many MiB in a file. It writes nothing back by itself for ten minutes, so the file holds only what
    /// was synced.
    pub async fn ext4(size_mib: u64) -> Self {
        let folder = Self::folder();
        let image = folder.path().join("image");
        let file = File::create(&image).expect("the folder is writable");
        file.set_len(size_mib << 20).expect("a sparse file can be made");
        must(command("mkfs.ext4", &["-q", "-F", &image.display().to_string()])).await;
        Self::mount_image(folder, image).await
    }

    async fn mount_image(folder: TempDir, image: PathBuf) -> Self {
        let volume = Self { folder, image: Some(image.clone()) };
        let (from, to) = (image.display().to_string(), volume.path().display().to_string());
        must(command("mount", &["-o", "loop,commit=600", &from, &to])).await;
        volume
    }

    /// A file system in memory of so many MiB.
    pub async fn memory(size_mib: u64) -> Self {
        let volume = Self { folder: Self::folder(), image: None };
        let to = volume.path().display().to_string();
        must(command("mount", &["-t", "tmpfs", "-o", &format!("size={size_mib}m"), "transship-test", &to])).await;
        volume
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// The volume as it would be if the power failed now: a copy of the image's file, with its journal replayed.
    /// Whatever writes to the volume must be stopped meanwhile, or the copy mixes several moments.
    pub async fn after_power_cut(&self) -> Self {
        let image = self.image.as_ref().expect("memory does not outlive its power");
        let folder = Self::folder();
        let copy = folder.path().join("image");
        let (from, to) = (image.display().to_string(), copy.display().to_string());
        must(command("cp", &["--sparse=always", &from, &to])).await;
        Self::mount_image(folder, copy).await
    }

    /// Fills it until this many bytes are left.
    pub fn fill(&self, left_bytes: u64) {
        let mut filler = File::create(self.filler()).expect("the volume takes a name");
        let piece = vec![7_u8; 1 << 20];
        let mut size_bytes = 0_u64;
        for piece_bytes in [piece.len(), 4096] {
            while filler.write_all(&piece[..piece_bytes]).is_ok() {
                size_bytes += piece_bytes as u64;
            }
        }
        let written = filler.metadata().expect("an open file can be asked").len();
        filler.set_len(written.saturating_sub(left_bytes)).expect("a file can be made shorter");
        assert!(size_bytes > 0, "there was no room at all");
    }

    /// Deletes the filler.
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).expect("the filler is there");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// The files below a folder that have no bytes.
    pub fn empty_files(folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("a folder can be read").path();
            if path.is_dir() {
                found.extend(Self::empty_files(&path));
            } else if std::fs::metadata(&path).is_ok_and(|file| file.len() == 0) {
                found.push(path);
            }
        }
        found
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazy, because a process that is being killed may still hold a file.
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
