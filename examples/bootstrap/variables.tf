variable "prefix" {
  type        = string
  description = "The first part of every bucket and role, for example acme-cdflow. Bucket names are global: use a name of your own."

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,30}[a-z0-9]$", var.prefix))
    error_message = "Use 3 to 32 lowercase letters, digits and hyphens, with a letter or digit at both ends."
  }
}

variable "region" {
  type        = string
  description = "The region of the buckets and environments, for example eu-west-1."

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "Name a region of AWS, for example eu-west-1."
  }
}

variable "accounts" {
  type = object({
    release = string
    dev     = string
    prod    = string
  })
  description = "The ids of the accounts: one for the buckets, one for environments that are not production, one for production. To try cdflow out, use one id three times."

  validation {
    condition     = alltrue([for id in values(var.accounts) : can(regex("^[0-9]{12}$", id))])
    error_message = "The id of an account has 12 digits, in quotes."
  }
}

variable "access_roles" {
  type = object({
    release = optional(string)
    dev     = optional(string, "OrganizationAccountAccessRole")
    prod    = optional(string, "OrganizationAccountAccessRole")
  })
  default     = {}
  description = "The role that Terraform assumes in each account to create the roles there. Without a role for `release`, Terraform uses your own credentials."
}

variable "environments" {
  type        = map(string)
  default     = { ci = "dev", live = "prod", "*" = "dev" }
  description = "The environments, each with `dev` or `prod`, the account that it is in. \"*\" is for all others, such as previews."

  validation {
    condition     = alltrue([for account in values(var.environments) : contains(["dev", "prod"], account)])
    error_message = "An environment is in the account `dev` or `prod`."
  }

  validation {
    condition     = alltrue([for name in keys(var.environments) : name == "*" || can(regex("^[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?$", name))])
    error_message = "The name of an environment has up to 24 lowercase letters, digits and hyphens."
  }

  validation {
    condition     = length(setintersection(keys(var.environments), ["default", "ledger", "release", "pull-request", "preview"])) == 0
    error_message = "`default` and `ledger` are reserved by cdflow; `release`, `pull-request` and `preview` are names of roles here."
  }
}

variable "repositories" {
  type        = list(string)
  description = "The repositories on GitHub whose workflows may use cdflow, for example [\"acme/checkout\"]."

  validation {
    condition     = length(var.repositories) > 0 && alltrue([for name in var.repositories : can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", name))])
    error_message = "Name each repository as ORGANISATION/REPOSITORY, without wildcards."
  }
}

variable "release_refs" {
  type        = list(string)
  default     = ["refs/heads/main"]
  description = "The branches and tags whose workflows may publish releases. Tags can end with `*`, for example refs/tags/v*."

  validation {
    condition     = alltrue([for ref in var.release_refs : can(regex("^refs/(heads/[A-Za-z0-9._/-]+|tags/[A-Za-z0-9._/-]+[*]?)$", ref))])
    error_message = "Name refs/heads/BRANCH without wildcards, or refs/tags/NAME; `*` may follow at least one character of a tag."
  }
}

variable "deploy_policies" {
  type        = list(string)
  description = "The IAM policies that say what your Terraform code may manage: ARNs of AWS, for example [\"arn:aws:iam::aws:policy/PowerUserAccess\"], or names of policies of your own, which exist in the accounts `dev` and `prod`."

  validation {
    condition     = length(var.deploy_policies) > 0 && alltrue([for policy in var.deploy_policies : can(regex("^(arn:aws[a-z-]*:iam::aws:policy/)?[A-Za-z0-9+=,.@_/-]+$", policy))])
    error_message = "Name at least one policy, by the ARN of AWS or by its own name."
  }
}

variable "plan_policies" {
  type        = list(string)
  default     = ["arn:aws:iam::aws:policy/ReadOnlyAccess"]
  description = "The IAM policies that let a plan read what your Terraform code manages, as in `deploy_policies`."

  validation {
    condition     = alltrue([for policy in var.plan_policies : can(regex("^(arn:aws[a-z-]*:iam::aws:policy/)?[A-Za-z0-9+=,.@_/-]+$", policy))])
    error_message = "Name policies by the ARN of AWS or by their own name."
  }
}

variable "images" {
  type        = bool
  default     = false
  description = "Whether components of type docker or function push images to ECR of the release account."
}

variable "prune" {
  type        = bool
  default     = false
  description = "Whether cdflow may delete releases, Lambda zips and images that no environment uses: `cdflow prune` and `preview.delete-releases`."
}

variable "previews" {
  type        = bool
  default     = false
  description = "Whether pull requests may create environments of their own. Their code then deploys to the account of \"*\" without a review."

  validation {
    condition     = !var.previews || contains(keys(var.environments), "*")
    error_message = "Previews are in the account of \"*\": add it to `environments`."
  }
}

variable "stored_plans" {
  type        = bool
  default     = false
  description = "Whether the plans of pull requests are stored for `deploy --reviewed=exact`, encrypted to a key of KMS that the module creates."
}

variable "people" {
  type        = list(string)
  default     = []
  description = "The ARNs of roles or users that may use cdflow on the command line, with every environment."

  validation {
    condition     = alltrue([for arn in var.people : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/", arn))])
    error_message = "Name roles or users by their ARN."
  }
}

variable "old_versions_days" {
  type        = number
  default     = 90
  description = "For how many days the buckets keep what was overwritten or deleted, such as old states and the releases of previews."

  validation {
    condition     = var.old_versions_days >= 1 && floor(var.old_versions_days) == var.old_versions_days
    error_message = "Use a whole number of days, at least 1."
  }
}

variable "oidc_provider_arn" {
  type        = string
  default     = null
  description = "The OIDC provider for GitHub in the release account, if it has one already. Without it, the module creates one."
}

variable "oidc_issuer" {
  type        = string
  default     = "token.actions.githubusercontent.com"
  description = "Who issues the tokens of GitHub Actions. GitHub Enterprise Server and GHE.com have issuers of their own."
}
