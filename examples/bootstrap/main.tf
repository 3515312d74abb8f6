# Everything that an organisation needs before its first release: buckets, roles, trust in GitHub, and the account scheme.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

locals {
  partition = startswith(var.region, "cn-") ? "aws-cn" : startswith(var.region, "us-gov-") ? "aws-us-gov" : "aws"

  # An account that is also the release account is reached like that.
  access = {
    for alias, id in var.accounts :
    alias => id == var.accounts.release ? var.access_roles.release : var.access_roles[alias]
  }
  named         = { for name, alias in var.environments : name => alias if name != "*" }
  deploy_roles  = { for alias in ["dev", "prod"] : alias => "${var.prefix}-deploy-${alias}" }
  plan_roles    = { for alias in ["dev", "prod"] : alias => "${var.prefix}-plan-${alias}" }
  preview_alias = var.previews ? var.environments["*"] : null
}

provider "aws" {
  region              = var.region
  allowed_account_ids = [var.accounts.release]

  dynamic "assume_role" {
    for_each = local.access.release == null ? [] : [local.access.release]

    content {
      role_arn = "arn:${local.partition}:iam::${var.accounts.release}:role/${assume_role.value}"
    }
  }
}

provider "aws" {
  alias               = "dev"
  region              = var.region
  allowed_account_ids = [var.accounts.dev]

  dynamic "assume_role" {
    for_each = local.access.dev == null ? [] : [local.access.dev]

    content {
      role_arn = "arn:${local.partition}:iam::${var.accounts.dev}:role/${assume_role.value}"
    }
  }
}

provider "aws" {
  alias               = "prod"
  region              = var.region
  allowed_account_ids = [var.accounts.prod]

  dynamic "assume_role" {
    for_each = local.access.prod == null ? [] : [local.access.prod]

    content {
      role_arn = "arn:${local.partition}:iam::${var.accounts.prod}:role/${assume_role.value}"
    }
  }
}

module "release" {
  source = "./modules/release"

  partition         = local.partition
  prefix            = var.prefix
  accounts          = var.accounts
  environments      = local.named
  deploy_roles      = local.deploy_roles
  plan_roles        = local.plan_roles
  preview_alias     = local.preview_alias
  repositories      = var.repositories
  release_refs      = var.release_refs
  people            = var.people
  images            = var.images
  prune             = var.prune
  stored_plans      = var.stored_plans
  old_versions_days = var.old_versions_days
  oidc_provider_arn = var.oidc_provider_arn
  oidc_issuer       = var.oidc_issuer
}

module "dev" {
  source    = "./modules/account"
  providers = { aws = aws.dev }

  partition         = local.partition
  account_id        = var.accounts.dev
  deploy_role       = local.deploy_roles.dev
  plan_role         = local.plan_roles.dev
  deployers         = module.release.deployers.dev
  planners          = module.release.planners.dev
  deploy_policies   = var.deploy_policies
  plan_policies     = var.plan_policies
  lambda_bucket_arn = module.release.lambda_bucket_arn
  plan_keys         = module.release.plan_keys
}

module "prod" {
  source    = "./modules/account"
  providers = { aws = aws.prod }

  partition         = local.partition
  account_id        = var.accounts.prod
  deploy_role       = local.deploy_roles.prod
  plan_role         = local.plan_roles.prod
  deployers         = module.release.deployers.prod
  planners          = module.release.planners.prod
  deploy_policies   = var.deploy_policies
  plan_policies     = var.plan_policies
  lambda_bucket_arn = module.release.lambda_bucket_arn
  plan_keys         = module.release.plan_keys
}

resource "aws_s3_object" "account_scheme" {
  bucket       = module.release.buckets.scheme
  key          = "account-scheme.json"
  content_type = "application/json"

  content = jsonencode({ for key, value in {
    accounts = {
      release = { id = var.accounts.release, role = module.release.release_role }
      dev     = { id = var.accounts.dev, role = local.deploy_roles.dev, plan-role = local.plan_roles.dev }
      prod    = { id = var.accounts.prod, role = local.deploy_roles.prod, plan-role = local.plan_roles.prod }
    }
    release-account             = "release"
    release-plan-role           = module.release.release_plan_role
    default-region              = var.region
    release-bucket              = module.release.buckets.releases
    lambda-bucket               = module.release.buckets.lambda
    terraform-backend-s3-bucket = module.release.buckets.state
    environments                = var.environments
    plan-encryption             = var.stored_plans ? { type = "aws:kms", key = one(module.release.plan_keys) } : null
  } : key => value if value != null })
}
