terraform {
  required_version = ">= 1.6"

  # No backend here: cdflow adds it from the account scheme. Commit the lock file that `terraform providers lock` writes.
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

# cdflow provides region and credentials for the environment's account.
provider "aws" {
  default_tags {
    tags = {
      team        = var.release["team"]
      component   = var.release["component"]
      environment = var.env
    }
  }
}

locals {
  name = "${var.release["component"]}-${var.env}"
}

resource "aws_lambda_function" "hello" {
  function_name = local.name
  role          = aws_iam_role.hello.arn
  runtime       = "python3.12"
  handler       = "handler.handle"
  memory_size   = var.memory_mb
  timeout       = 10

  # The zip of this release. With its hash, only a different zip is a change.
  s3_bucket        = var.release["s3_bucket"]
  s3_key           = var.release["s3_key"]
  source_code_hash = var.release["source_code_hash"]

  environment {
    variables = {
      GREETING = var.greeting
    }
  }

  depends_on = [aws_cloudwatch_log_group.hello]
}

resource "aws_cloudwatch_log_group" "hello" {
  name              = "/aws/lambda/${local.name}"
  retention_in_days = var.log_retention_days
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "write_logs" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.hello.arn}:*"]
  }
}

resource "aws_iam_role" "hello" {
  name               = local.name
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "write_logs" {
  name   = "write-logs"
  role   = aws_iam_role.hello.id
  policy = data.aws_iam_policy_document.write_logs.json
}
