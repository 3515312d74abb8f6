# The roles in an account with environments. Terraform's providers get them, and nothing in the release account uses them.

terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

locals {
  own             = "arn:${var.partition}:iam::${var.account_id}:policy/"
  deploy_policies = { for name in var.deploy_policies : name => startswith(name, "arn:") ? name : "${local.own}${name}" }
  plan_policies   = { for name in var.plan_policies : name => startswith(name, "arn:") ? name : "${local.own}${name}" }
}

data "aws_iam_policy_document" "deploy_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = var.deployers
    }
  }
}

data "aws_iam_policy_document" "plan_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = var.planners
    }
  }
}

# What cdflow itself reads in this account: https://github.com/org/cdflow-action/blob/main/docs/terraform.md#secrets
data "aws_iam_policy_document" "cdflow" {
  statement {
    sid       = "SecretsInParameters"
    actions   = ["ssm:GetParametersByPath"]
    resources = ["arn:${var.partition}:ssm:*:*:parameter/cdflow/*"]
  }

  statement {
    sid       = "SecretsInSecretsManager"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = ["arn:${var.partition}:secretsmanager:*:*:secret:cdflow/*"]
  }

  statement {
    sid       = "CodeOfFunctions"
    actions   = ["s3:GetObject"]
    resources = ["${var.lambda_bucket_arn}/*"]
  }
}

# Who stores a plan cannot read it, and who applies it does.
data "aws_iam_policy_document" "deploy" {
  source_policy_documents = [data.aws_iam_policy_document.cdflow.json]

  dynamic "statement" {
    for_each = length(var.plan_keys) > 0 ? [true] : []

    content {
      sid       = "StoredPlans"
      actions   = ["kms:Decrypt"]
      resources = var.plan_keys
    }
  }
}

data "aws_iam_policy_document" "plan" {
  source_policy_documents = [data.aws_iam_policy_document.cdflow.json]

  dynamic "statement" {
    for_each = length(var.plan_keys) > 0 ? [true] : []

    content {
      sid       = "StoredPlans"
      actions   = ["kms:GenerateDataKey"]
      resources = var.plan_keys
    }
  }
}

resource "aws_iam_role" "deploy" {
  name                 = var.deploy_role
  description          = "Terraform's providers, when cdflow deploys or destroys"
  assume_role_policy   = data.aws_iam_policy_document.deploy_trust.json
  max_session_duration = 3600
}

resource "aws_iam_role_policy" "deploy" {
  name   = "cdflow"
  role   = aws_iam_role.deploy.name
  policy = data.aws_iam_policy_document.deploy.json
}

resource "aws_iam_role_policy_attachment" "deploy" {
  for_each = local.deploy_policies

  role       = aws_iam_role.deploy.name
  policy_arn = each.value
}

resource "aws_iam_role" "plan" {
  name                 = var.plan_role
  description          = "Terraform's providers, when cdflow only plans"
  assume_role_policy   = data.aws_iam_policy_document.plan_trust.json
  max_session_duration = 3600
}

resource "aws_iam_role_policy" "plan" {
  name   = "cdflow"
  role   = aws_iam_role.plan.name
  policy = data.aws_iam_policy_document.plan.json
}

resource "aws_iam_role_policy_attachment" "plan" {
  for_each = local.plan_policies

  role       = aws_iam_role.plan.name
  policy_arn = each.value
}
