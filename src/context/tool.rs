//! Which Terraform or OpenTofu a component asks for, and where it says so.

use std::path::{Path, PathBuf};

use super::version_files::{VersionFiles, check_agree};
use crate::{
    base::{
        error::{Error, Result},
        log::Log,
    },
    cli::args::Global,
    config::{
        component::Manifest, flavor::Flavor, scheme::AccountScheme, version_constraint::Wanted,
        version_pick::VersionPick,
    },
};

/// The tool, and the versions that are asked for outside of the code.
#[derive(Clone, Debug)]
pub(crate) struct ToolWishes {
    pub(crate) flavor: Flavor,
    pub(crate) wanted: Vec<Wanted>,
    /// Which of the allowed versions is asked for. None: any, preferably the program in PATH.
    pub(crate) pick: Option<VersionPick>,
    /// Whether the run itself asks, which overrides everything except the code.
    pub(crate) is_of_run: bool,
    /// The version files that were read.
    pub(crate) files: Vec<PathBuf>,
}

impl ToolWishes {
    /// Sources, in this order: `--terraform-version`, cdflow.yml, version files from `folder` up to
    /// the repository's root. Two that contradict each other are an error.
    pub(crate) fn read(
        global: &Global,
        manifest: &Manifest,
        folder: &Path,
        log: &Log,
    ) -> Result<Self> {
        let of_manifest = [
            (Flavor::Terraform, manifest.terraform_version.as_ref()),
            (Flavor::OpenTofu, manifest.opentofu_version.as_ref()),
        ];
        let of_manifest = of_manifest.into_iter().find_map(|(flavor, constraint)| {
            let place = format!("`{}` in cdflow.yml", flavor.setting());
            Some((flavor, Wanted { constraint: constraint?.clone(), place }))
        });
        if let Some(constraint) = &global.terraform_version {
            let place = "`terraform-version` of this run".to_owned();
            return Ok(Self {
                flavor: of_manifest.map_or(Flavor::Terraform, |(flavor, _)| flavor),
                wanted: vec![Wanted { constraint: constraint.clone(), place }],
                pick: None,
                is_of_run: true,
                files: Vec::new(),
            });
        }
        let files = VersionFiles::read(folder)?;
        files.unused.iter().for_each(|unused| log.warning(&format!("not used: {unused}")));
        let flavor = match &of_manifest {
            Some((flavor, _)) => *flavor,
            None => flavor_of(&files)?,
        };
        let of_files = files.wanted(flavor).to_vec();
        let of_manifest = of_manifest.map(|(_, wanted)| wanted);
        if let Some(one) = &of_manifest {
            of_files.iter().try_for_each(|other| check_agree(one, other))?;
        }
        let wanted = of_manifest.into_iter().chain(of_files).collect();
        let pick = files.pick(flavor).cloned();
        Ok(Self { flavor, wanted, pick, is_of_run: false, files: files.paths })
    }

    /// Adds the version of `defaults` in the account scheme, if the component asks for none.
    pub(crate) fn or_default(mut self, manifest: &Manifest, scheme: &AccountScheme) -> Self {
        let defaults = &scheme.defaults;
        let (flavor, constraint) = match (&defaults.terraform_version, &defaults.opentofu_version) {
            (Some(constraint), _) => (Flavor::Terraform, constraint),
            (None, Some(constraint)) => (Flavor::OpenTofu, constraint),
            (None, None) => return self,
        };
        let is_own = manifest.terraform_version.is_some() || manifest.opentofu_version.is_some();
        let is_of_files =
            !self.files.is_empty() && (!self.wanted.is_empty() || self.pick.is_some());
        if is_own || is_of_files {
            return self;
        }
        self.flavor = flavor;
        if !self.is_of_run {
            let place = format!("`defaults.{}` in {}", flavor.setting(), scheme.file);
            self.wanted = vec![Wanted { constraint: constraint.clone(), place }];
        }
        self
    }
}

/// Returns the tool that version files are about.
fn flavor_of(files: &VersionFiles) -> Result<Flavor> {
    let [terraform, opentofu] = [Flavor::Terraform, Flavor::OpenTofu].map(|it| files.asks(it));
    match (terraform, opentofu) {
        (Some(terraform), Some(opentofu)) => {
            Err(Error::input("it is not clear whether the component uses Terraform or OpenTofu")
                .why(format!("version files ask for {terraform}, and for {opentofu}"))
                .hint("set `terraform-version` or `opentofu-version` in cdflow.yml"))
        }
        (None, Some(_)) => Ok(Flavor::OpenTofu),
        (None, None) if files.names(Flavor::OpenTofu) && !files.names(Flavor::Terraform) => {
            Ok(Flavor::OpenTofu)
        }
        (_, None) => Ok(Flavor::Terraform),
    }
}
