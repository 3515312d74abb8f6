//! The base images of a function: one to build it, one to run it.

use std::{collections::BTreeMap, path::Path};

use super::{Profile, rocherc};
use crate::{
    base::{
        error::{Error, Result},
        process_env::ProcessEnv,
    },
    config::settings::FunctionImages,
    config::{component::Function, names::Image},
};

const BUILD: &str = "quay.io/roche/default:1.4.0";
/// Contains dependencies compiled for debugging.
const DEV_BUILD: &str = "quay.io/roche/dev-default:1.4.0";
const RUNTIME: &str = "quay.io/roche/alpine-libgcc:3.12";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Images {
    pub(crate) build: Image,
    pub(crate) runtime: Image,
    /// Which settings the images come from, for messages: build image, runtime image.
    pub(crate) named_by: [String; 2],
}

impl Images {
    /// Chooses the images. The first that is set counts: flag or input, environment variable,
    /// `src/.rocherc`, `.rocherc`, cdflow.yml, roche's default images.
    pub(crate) fn choose(
        profile: Profile,
        given: &FunctionImages,
        component: &Path,
        settings: &Function,
        environment: &ProcessEnv,
    ) -> Result<Self> {
        let roche = Roche { environment, files: rocherc::read(component)? };
        let (variable, default) = match profile {
            Profile::Release => ("release_build_image", BUILD),
            Profile::Dev => ("dev_build_image", DEV_BUILD),
        };
        let (build, build_by) = first(
            "--build-image",
            &given.build_image,
            roche.image(variable)?,
            &settings.build_image,
            default,
        )?;
        let (runtime, runtime_by) = first(
            "--runtime-image",
            &given.runtime_image,
            roche.image("runtime_image")?,
            &settings.runtime_image,
            RUNTIME,
        )?;
        if build.has_no_shell() {
            return Err(Error::input(format!("`{build}` is not a build image"))
                .why("it has no shell and no compiler"));
        }
        Ok(Self { build, runtime, named_by: [build_by, runtime_by] })
    }

    #[cfg(test)]
    pub(crate) fn plain(build: &str, runtime: &str) -> Self {
        let [build, runtime] = [build, runtime].map(|image| image.parse().unwrap());
        Self { build, runtime, named_by: Default::default() }
    }
}

/// Returns the image and the setting that it comes from.
fn first(
    flag: &str,
    given: &Option<Image>,
    of_roche: Option<(Image, String)>,
    of_manifest: &Option<Image>,
    default: &str,
) -> Result<(Image, String)> {
    let given = given.clone().map(|image| (image, flag.to_owned()));
    let of_manifest = of_manifest.clone().map(|image| (image, "cdflow.yml".to_owned()));
    match given.or(of_roche).or(of_manifest) {
        Some(found) => Ok(found),
        None => Ok((default.parse()?, "the default".to_owned())),
    }
}

/// The settings of roche, with their original names and precedence.
struct Roche<'a> {
    environment: &'a ProcessEnv,
    files: BTreeMap<String, (String, String)>,
}

impl Roche<'_> {
    fn image(&self, variable: &str) -> Result<Option<(Image, String)>> {
        let of_environment = self.environment.get(variable).map(|value| (value, "the environment"));
        let of_file = self.files.get(variable).map(|(value, file)| (value.as_str(), file.as_str()));
        let Some((value, place)) = of_environment.or(of_file) else { return Ok(None) };
        match value.parse() {
            Ok(image) => Ok(Some((image, format!("`{variable}` in {place}")))),
            Err(refused) => {
                Err(Error::input(format!("cannot use `{variable}` in {place}")).why(refused))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Case {
        component: tempfile::TempDir,
        given: FunctionImages,
        settings: Function,
        environment: Vec<(&'static str, &'static str)>,
    }

    impl Case {
        fn new() -> Self {
            let component = tempfile::tempdir().unwrap();
            fs::create_dir(component.path().join("src")).unwrap();
            Self {
                component,
                given: FunctionImages::default(),
                settings: Function::default(),
                environment: Vec::new(),
            }
        }

        fn choose(&self, profile: Profile) -> Result<Images> {
            let environment =
                self.environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            let environment = ProcessEnv::new(environment);
            Images::choose(
                profile,
                &self.given,
                self.component.path(),
                &self.settings,
                &environment,
            )
        }

        fn build(&self, profile: Profile) -> String {
            let images = self.choose(profile).unwrap();
            format!("{} by {}", images.build, images.named_by[0])
        }
    }

    #[test]
    fn precedence() {
        let mut case = Case::new();
        let image = |text: &str| Some(text.parse().unwrap());
        assert_eq!(case.build(Profile::Release), "quay.io/roche/default:1.4.0 by the default");
        assert_eq!(case.build(Profile::Dev), "quay.io/roche/dev-default:1.4.0 by the default");
        assert_eq!(
            case.choose(Profile::Release).unwrap().runtime.as_str(),
            "quay.io/roche/alpine-libgcc:3.12"
        );
        case.settings.build_image = image("manifest");
        assert_eq!(case.build(Profile::Dev), "manifest by cdflow.yml");
        let write =
            |file: &str, text: &str| fs::write(case.component.path().join(file), text).unwrap();
        write(".rocherc", "release_build_image=outer\nruntime_image=outer-runtime\n");
        assert_eq!(case.build(Profile::Release), "outer by `release_build_image` in .rocherc");
        assert_eq!(case.build(Profile::Dev), "manifest by cdflow.yml");
        write("src/.rocherc", "release_build_image=inner\ndev_build_image=dev\n");
        assert_eq!(case.build(Profile::Release), "inner by `release_build_image` in src/.rocherc");
        assert_eq!(case.build(Profile::Dev), "dev by `dev_build_image` in src/.rocherc");
        case.environment = vec![("release_build_image", "environment"), ("runtime_image", "")];
        assert_eq!(
            case.build(Profile::Release),
            "environment by `release_build_image` in the environment"
        );
        case.given.build_image = image("flag");
        let images = case.choose(Profile::Release).unwrap();
        assert_eq!((images.build.as_str(), images.runtime.as_str()), ("flag", "outer-runtime"));
        assert_eq!(
            images.named_by,
            ["--build-image".to_owned(), "`runtime_image` in .rocherc".to_owned()]
        );
    }

    #[test]
    fn invalid_names() {
        let mut case = Case::new();
        case.environment = vec![("runtime_image", "Not An Image")];
        let refused = case.choose(Profile::Release).unwrap_err().to_string();
        assert!(
            refused.starts_with(
                "cannot use `runtime_image` in the environment: invalid image `Not An Image`"
            ),
            "{refused}"
        );
        case.environment = vec![("release_build_image", "scratch")];
        assert!(
            case.choose(Profile::Release)
                .unwrap_err()
                .to_string()
                .contains("`scratch` is not a build image")
        );
    }
}
