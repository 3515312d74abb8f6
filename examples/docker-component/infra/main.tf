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

# The task of an ECS service. It names the image by digest, so only a different image is a change.
resource "aws_ecs_task_definition" "shop" {
  family                   = local.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory_mb
  execution_role_arn       = aws_iam_role.execution.arn

  container_definitions = jsonencode([{
    name         = "shop"
    image        = var.release["image_id"]
    essential    = true
    environment  = [{ name = "GREETING", value = var.greeting }]
    portMappings = [{ containerPort = 8080 }]

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.shop.name
        awslogs-region        = data.aws_region.current.name
        awslogs-stream-prefix = "shop"
      }
    }
  }])
}

data "aws_region" "current" {}

resource "aws_cloudwatch_log_group" "shop" {
  name              = "/ecs/${local.name}"
  retention_in_days = var.log_retention_days
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

# Pulls the image and writes the logs.
resource "aws_iam_role" "execution" {
  name               = local.name
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}
