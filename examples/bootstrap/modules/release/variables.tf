variable "partition" {
  type        = string
  description = "The second part of every ARN, such as `aws`."
}

variable "prefix" {
  type        = string
  description = "The first part of every bucket and role."
}

variable "accounts" {
  type        = object({ release = string, dev = string, prod = string })
  description = "The ids of the accounts."
}

variable "environments" {
  type        = map(string)
  description = "The environments that have a name, each with `dev` or `prod`."
}

variable "deploy_roles" {
  type        = map(string)
  description = "The name of the role that deploys, by account."
}

variable "plan_roles" {
  type        = map(string)
  description = "The name of the role that plans, by account."
}

variable "preview_alias" {
  type        = string
  description = "The account in which pull requests may create environments. Null: in none."
}

variable "repositories" {
  type        = list(string)
  description = "The repositories on GitHub, as ORGANISATION/REPOSITORY."
}

variable "release_refs" {
  type        = list(string)
  description = "The branches and tags whose workflows may publish releases."
}

variable "stored_plans" {
  type        = bool
  description = "Whether a key for stored plans is created."
}

variable "people" {
  type        = list(string)
  description = "The ARNs of those who may use cdflow on the command line."
}

variable "images" {
  type        = bool
  description = "Whether components push images to ECR."
}

variable "prune" {
  type        = bool
  description = "Whether cdflow may delete unused releases."
}

variable "old_versions_days" {
  type        = number
  description = "For how many days the buckets keep what was overwritten or deleted."
}

variable "oidc_provider_arn" {
  type        = string
  description = "An existing OIDC provider for GitHub."
}

variable "oidc_issuer" {
  type        = string
  description = "Who issues the tokens of GitHub Actions."
}
